// SPDX-License-Identifier: Apache-2.0
//! Arrays that belong together have one length.

use crate::{Error, Result, Status};

/// The length of a batch as the C interface counts it.
pub(crate) fn count(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::new(Status::Overflow, format!("the batch has {} rows", n)))
}

/// Fails unless a slice has the length that goes with the others.
#[inline]
pub(crate) fn expect_len(name: &str, len: usize, expected: usize, why: &str) -> Result<()> {
    if len == expected {
        return Ok(());
    }
    Err(bad_len(name, len, expected, why))
}

#[cold]
fn bad_len(name: &str, len: usize, expected: usize, why: &str) -> Error {
    Error::new(Status::Argument, format!("{} has {} elements, must have {}: {}", name, len, expected, why))
}
