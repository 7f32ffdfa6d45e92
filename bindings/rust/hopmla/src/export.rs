// SPDX-License-Identifier: Apache-2.0
//! Exporters: records as lines, tables, traces and pictures, totals as OpenMetrics.

use crate::error::call;
use crate::{callback, sys, Ceilings, Error, Pool, Profiler, Record, Result, Status};
use std::ffi::{c_void, CString};
use std::io::Write;
use std::mem::size_of;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::slice;

/// What records are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExportFormat {
    /// A JSON object a record, after one with the ceilings.
    JsonLines,
    /// A row a record under one header line.
    Csv,
    /// Chrome's trace events, which Perfetto reads.
    Trace,
    /// SVG: intensity against FLOP/s with the ceilings as roofs.
    Roofline,
    /// SVG: device times by kind along a time axis.
    Timeline,
}

impl ExportFormat {
    fn raw(self) -> i32 {
        match self {
            ExportFormat::JsonLines => sys::HOPMLA_EXPORT_JSONL,
            ExportFormat::Csv => sys::HOPMLA_EXPORT_CSV,
            ExportFormat::Trace => sys::HOPMLA_EXPORT_TRACE,
            ExportFormat::Roofline => sys::HOPMLA_EXPORT_ROOFLINE,
            ExportFormat::Timeline => sys::HOPMLA_EXPORT_TIMELINE,
        }
    }
}

/// What an export says of itself.
#[derive(Clone, Debug, Default)]
pub struct Export {
    device: Option<String>,
    ceilings: Option<Ceilings>,
}

impl Export {
    /// Nothing.
    pub fn new() -> Export {
        Export::default()
    }

    /// The device's name, for titles.
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.device = Some(name.into());
        self
    }

    /// Roofs.
    pub fn ceilings(mut self, ceilings: &Ceilings) -> Self {
        self.ceilings = Some(ceilings.clone());
        self
    }

    /// Writes records.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the writer's own words when it fails or panics.
    pub fn records(&self, format: ExportFormat, records: &[Record], out: &mut dyn Write) -> Result<()> {
        self.write(out, |options, error| export_records(format, records, options, error))
    }

    /// Writes records to a file, which is replaced whole when the export has succeeded.
    pub fn records_to_file(&self, format: ExportFormat, records: &[Record], path: impl AsRef<Path>) -> Result<()> {
        let path = CString::new(path.as_ref().as_os_str().as_bytes())
            .map_err(|_| Error::new(Status::Argument, "the path has a NUL in it"))?;
        self.with(|mut options| {
            options.path = path.as_ptr();
            call(|error| export_records(format, records, &options, error))
        })
    }

    /// Writes OpenMetrics text of a profiler's totals and of a pool's books.
    pub fn metrics(&self, profiler: Option<&Profiler>, pool: Option<&Pool>, out: &mut dyn Write) -> Result<()> {
        let profiler = profiler.map_or(ptr::null_mut(), Profiler::raw);
        let pool = pool.map_or(ptr::null_mut(), Pool::raw);
        self.write(out, |options, error| {
            // SAFETY: the handles are alive, and so is all that the options point to.
            unsafe { sys::hopmla_export_metrics(profiler, pool, options, error) }
        })
    }

    /// Options whose strings and structs live as long as `f` runs.
    fn with(&self, f: impl FnOnce(sys::hopmla_export_options) -> Result<()>) -> Result<()> {
        let device = self.device.as_deref().map(CString::new).transpose();
        let device = device.map_err(|_| Error::new(Status::Argument, "the device's name has a NUL in it"))?;
        let ceilings = self.ceilings.as_ref().map(Ceilings::raw);
        f(sys::hopmla_export_options {
            struct_size: size_of::<sys::hopmla_export_options>() as u32,
            reserved: 0,
            path: ptr::null(),
            write: None,
            user: ptr::null_mut(),
            device: device.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
            ceilings: ceilings.as_ref().map_or(ptr::null(), |ceilings| ceilings),
        })
    }

    fn write(
        &self,
        out: &mut dyn Write,
        f: impl FnOnce(&sys::hopmla_export_options, *mut sys::hopmla_error) -> sys::hopmla_status,
    ) -> Result<()> {
        let mut sink = Sink { out, failure: None };
        let outcome = self.with(|mut options| {
            options.write = Some(write);
            options.user = (&mut sink as *mut Sink<'_>).cast();
            call(|error| f(&options, error))
        });
        match sink.failure {
            Some(text) => Err(Error::new(Status::Io, text)),
            None => outcome,
        }
    }
}

fn export_records(
    format: ExportFormat,
    records: &[Record],
    options: &sys::hopmla_export_options,
    error: *mut sys::hopmla_error,
) -> sys::hopmla_status {
    let size = size_of::<sys::hopmla_record>() as u64;
    // SAFETY: a `Record` is a hopmla_record; the options and what they point to are alive.
    unsafe {
        sys::hopmla_export_records(format.raw(), records.as_ptr().cast(), size, records.len() as u64, options, error)
    }
}

/// Where an export goes, and why it did not go on.
struct Sink<'a> {
    out: &'a mut dyn Write,
    failure: Option<String>,
}

unsafe extern "C" fn write(user: *mut c_void, text: *const c_void, bytes: u64) -> i32 {
    // SAFETY: the sink that `Export::write` holds while the call runs; nobody else has it.
    let sink = unsafe { &mut *user.cast::<Sink<'_>>() };
    let out = &mut sink.out;
    let outcome = callback::guarded(|| {
        // SAFETY: that many bytes, valid during the call; a null address comes with none.
        let text = if bytes == 0 { &[][..] } else { unsafe { slice::from_raw_parts(text.cast(), bytes as usize) } };
        out.write_all(text)
    });
    sink.failure = match outcome {
        Some(Ok(())) => return 0,
        Some(Err(error)) => Some(error.to_string()),
        None => Some("the writer panicked".into()),
    };
    1
}
