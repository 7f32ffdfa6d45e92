// SPDX-License-Identifier: Apache-2.0
//! Sequences: ids for batches, and an owner that releases.

use crate::error::call;
#[cfg(doc)]
use crate::Status;
use crate::{callback, sys, Pool, Result, SeqInfo};
use std::mem::ManuallyDrop;
use std::ptr;

/// A sequence's name in batches. It carries a generation: one that was released is
/// [`crate::Status::StaleId`], one of another pool [`crate::Status::ForeignId`], never somebody else's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SeqId(pub u64);

impl SeqId {
    /// A slice of ids as the C interface takes it.
    pub(crate) fn raw(ids: &[SeqId]) -> *const sys::hopmla_seq {
        ids.as_ptr().cast()
    }
}

/// Owns a sequence of a pool and releases it when dropped, which is safe while steps in flight still read it. It keeps
/// the pool alive. Batches take its [`id`](Sequence::id).
#[derive(Debug)]
pub struct Sequence {
    pool: Pool,
    id: SeqId,
}

impl Sequence {
    /// Takes over a sequence that was given up by [`into_id`](Sequence::into_id).
    pub fn own(pool: Pool, id: SeqId) -> Sequence {
        Sequence { pool, id }
    }

    /// Its name in batches.
    pub fn id(&self) -> SeqId {
        self.id
    }

    /// Its pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Gives up ownership: the sequence lives until [`Pool::release`] or the end of the pool.
    pub fn into_id(self) -> SeqId {
        let kept = ManuallyDrop::new(self);
        // SAFETY: the pool is read once, and `kept` is not dropped.
        drop(unsafe { ptr::read(&kept.pool) });
        kept.id
    }

    /// A sequence that shares the first `length` committed tokens, all of them with `None`. No page is taken or copied
    /// now: whoever first appends into a shared partial page gets a page of its own at the next reserve. [`Status::State`]
    /// when the parent committed tokens behind a copy that no step has enqueued yet.
    pub fn fork(&self, length: Option<u64>) -> Result<Sequence> {
        let (length, mut child) = (length.unwrap_or(sys::HOPMLA_ALL_TOKENS), 0);
        // SAFETY: the handle is alive, and there is room for one id.
        call(|error| unsafe { sys::hopmla_seq_fork(self.pool.raw(), self.id.0, length, &mut child, error) })?;
        Ok(Sequence::own(self.pool.clone(), SeqId(child)))
    }

    /// [`Pool::reserve`] for this one.
    pub fn reserve(&self, n_new: u32) -> Result<()> {
        self.pool.reserve(&[self.id], &[n_new])
    }

    /// [`Pool::commit`] for this one.
    pub fn commit(&self, n_tokens: u32) -> Result<()> {
        self.pool.commit(&[self.id], &[n_tokens])
    }

    /// [`Pool::truncate`] for this one.
    pub fn truncate(&self, length: u64) -> Result<()> {
        self.pool.truncate(&[self.id], &[length])
    }

    /// Its length and pages.
    pub fn describe(&self) -> Result<SeqInfo> {
        self.pool.describe_sequence(self.id)
    }

    /// Its page ids, in order of its tokens.
    pub fn pages(&self) -> Result<Vec<i32>> {
        self.pool.pages(self.id)
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        if !callback::inside() {
            // SAFETY: one id. That it was released by its id before is a status, which nobody needs here.
            unsafe { sys::hopmla_seq_release(self.pool.raw(), &self.id.0, 1, ptr::null_mut()) };
        }
    }
}
