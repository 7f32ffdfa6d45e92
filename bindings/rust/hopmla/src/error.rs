// SPDX-License-Identifier: Apache-2.0
//! Statuses as errors.

use crate::{callback, sys};
use std::ffi::CStr;
use std::fmt;

/// What every fallible call returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed call, by what can be done about it. A failed call has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The call is wrong: mend the program.
    Argument(Detail),
    /// The call comes at the wrong time: mend the order.
    Order(Detail),
    /// There is not enough of something: free some, then retry. For [`Status::OutOfPages`] the detail's `value` is the
    /// number of pages missing.
    Capacity(Detail),
    /// Nothing is wrong: retry when earlier work has finished.
    Busy(Detail),
    /// This machine or build cannot do it.
    Unavailable(Detail),
    /// The CUDA driver failed; the detail's `native_code` is its code.
    Driver(Detail),
    /// The CUDA context is lost: restart the process.
    Lost(Detail),
    /// A defect of the library, or a status that this crate does not know: report it.
    Internal(Detail),
    /// A file could not be written; the detail's `native_code` is `errno`, or 0 where a writer of the caller's failed.
    Io(Detail),
}

/// What there is to say about a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detail {
    /// What went wrong.
    pub status: Status,
    /// Names the argument and what is wrong with it.
    pub message: String,
    /// A number that belongs to the status (pages missing, index of the bad element), else 0.
    pub value: i64,
    /// The driver's code for the driver statuses, `errno` for [`Status::Io`], else 0.
    pub native_code: i32,
}

macro_rules! statuses {
    ($($name:ident = $value:ident, $text:literal;)*) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Status {
            $(#[doc = $text] $name,)*
            /// A value that this crate does not know.
            Unknown(i32),
        }

        impl Status {
            /// The status of a value of the C interface.
            pub fn from_raw(value: i32) -> Status {
                match value {
                    $(sys::$value => Status::$name,)*
                    other => Status::Unknown(other),
                }
            }

            /// Its value in the C interface.
            pub fn raw(self) -> i32 {
                match self {
                    $(Status::$name => sys::$value,)*
                    Status::Unknown(other) => other,
                }
            }
        }

        #[cfg(test)]
        const ALL: &[Status] = &[$(Status::$name,)*];
    };
}

statuses! {
    Argument = HOPMLA_ERROR_ARGUMENT, "A value is outside its documented range.";
    Null = HOPMLA_ERROR_NULL, "A required pointer or handle is NULL.";
    StructSize = HOPMLA_ERROR_STRUCT_SIZE, "A struct is smaller than the first release's.";
    StructTail = HOPMLA_ERROR_STRUCT_TAIL, "A struct is newer than the library and uses a field it does not know.";
    Enum = HOPMLA_ERROR_ENUM, "An enum field holds an unknown value.";
    Overflow = HOPMLA_ERROR_OVERFLOW, "Sizes multiply to more than 64 bits, or counts exceed the interface's limits.";
    StaleId = HOPMLA_ERROR_STALE_ID, "The sequence was released.";
    ForeignId = HOPMLA_ERROR_FOREIGN_ID, "The sequence id was never given out by this pool.";
    DuplicateId = HOPMLA_ERROR_DUPLICATE_ID, "A sequence stands twice in one batch.";
    Alignment = HOPMLA_ERROR_ALIGNMENT, "A pointer or stride is not a multiple of 16 bytes.";
    Dtype = HOPMLA_ERROR_DTYPE, "An element type that does not go with the pool's format.";
    Mismatch = HOPMLA_ERROR_MISMATCH, "Objects of different contexts, pools or backends were mixed.";
    Envelope = HOPMLA_ERROR_ENVELOPE, "The batch is outside the envelope that the plan declared.";
    Range = HOPMLA_ERROR_RANGE, "Tokens outside the sequence, or more tokens than were reserved.";
    State = HOPMLA_ERROR_STATE, "Not in the order the step requires.";
    Capture = HOPMLA_ERROR_CAPTURE, "Not while the stream is being captured.";
    NoStorage = HOPMLA_ERROR_NO_STORAGE, "The pool has no storage to read or write.";
    OutOfPages = HOPMLA_ERROR_OUT_OF_PAGES, "Too few free pages; the detail's value says how many are missing.";
    OutOfHostMemory = HOPMLA_ERROR_OUT_OF_HOST_MEMORY, "No more host memory, ordinary or page-locked.";
    OutOfDeviceMemory = HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY, "No more device memory.";
    TooMany = HOPMLA_ERROR_TOO_MANY, "More sequences or plans than the pool can hold.";
    Busy = HOPMLA_ERROR_BUSY, "Retry when earlier work has finished.";
    NoDriver = HOPMLA_ERROR_NO_DRIVER, "The CUDA driver was not found or does not start.";
    OldDriver = HOPMLA_ERROR_OLD_DRIVER, "The CUDA driver is older than the embedded kernels need.";
    NoDevice = HOPMLA_ERROR_NO_DEVICE, "No such device.";
    Device = HOPMLA_ERROR_DEVICE, "The device is not of compute capability 9.0.";
    NotBuilt = HOPMLA_ERROR_NOT_BUILT, "The library was built without this backend.";
    Unsupported = HOPMLA_ERROR_UNSUPPORTED, "A valid request that this release does not implement.";
    Driver = HOPMLA_ERROR_DRIVER, "The CUDA driver failed.";
    DriverSticky = HOPMLA_ERROR_DRIVER_STICKY, "The CUDA context is lost.";
    Internal = HOPMLA_ERROR_INTERNAL, "A defect of the library.";
    Io = HOPMLA_ERROR_IO, "A file could not be written, or the writer of an export failed.";
}

impl Status {
    /// One sentence on what it means and what to do.
    pub fn text(self) -> &'static str {
        // SAFETY: any value is allowed, and the answer is a constant string.
        let text = unsafe { CStr::from_ptr(sys::hopmla_status_text(self.raw())) };
        text.to_str().unwrap_or("")
    }
}

impl fmt::Display for Status {
    /// Its name, for example `OUT_OF_PAGES`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: any value is allowed, and the answer is a constant string.
        let name = unsafe { CStr::from_ptr(sys::hopmla_status_name(self.raw())) };
        f.write_str(name.to_str().unwrap_or("UNKNOWN"))
    }
}

impl Error {
    /// An error that this crate finds itself.
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Error {
        Error::from(Detail { status, message: message.into(), value: 0, native_code: 0 })
    }

    /// Status, message and numbers, whatever the group.
    pub fn detail(&self) -> &Detail {
        match self {
            Error::Argument(detail)
            | Error::Order(detail)
            | Error::Capacity(detail)
            | Error::Busy(detail)
            | Error::Unavailable(detail)
            | Error::Driver(detail)
            | Error::Lost(detail)
            | Error::Internal(detail)
            | Error::Io(detail) => detail,
        }
    }

    /// What went wrong.
    pub fn status(&self) -> Status {
        self.detail().status
    }

    /// How many pages are missing, when that is what went wrong.
    pub fn missing_pages(&self) -> Option<u64> {
        let detail = self.detail();
        (detail.status == Status::OutOfPages).then(|| detail.value.max(0) as u64)
    }
}

impl From<Detail> for Error {
    fn from(detail: Detail) -> Error {
        match detail.status.raw() {
            -199..=-100 => Error::Argument(detail),
            -299..=-200 => Error::Order(detail),
            -399..=-300 => Error::Capacity(detail),
            -499..=-400 => Error::Busy(detail),
            -599..=-500 => Error::Unavailable(detail),
            -699..=-600 => Error::Driver(detail),
            -799..=-700 => Error::Lost(detail),
            -999..=-900 => Error::Io(detail),
            _ => Error::Internal(detail),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail();
        write!(f, "{} ({})", detail.message, detail.status)?;
        match detail.native_code {
            0 => Ok(()),
            code if matches!(self, Error::Io(_)) => write!(f, ", errno {}", code),
            code => write!(f, ", driver code {}", code),
        }
    }
}

impl std::error::Error for Error {}

/// Makes one call of the library with room for its error text.
#[inline]
pub(crate) fn call(f: impl FnOnce(*mut sys::hopmla_error) -> sys::hopmla_status) -> Result<()> {
    if callback::inside() {
        return Err(callback::refusal());
    }
    let mut error = sys::hopmla_error {
        struct_size: std::mem::size_of::<sys::hopmla_error>() as u32,
        status: 0,
        native_code: 0,
        reserved: 0,
        value: 0,
        message: [0; 232],
    };
    match f(&mut error) {
        sys::HOPMLA_OK => Ok(()),
        status => Err(failure(status, &error)),
    }
}

#[cold]
fn failure(status: sys::hopmla_status, error: &sys::hopmla_error) -> Error {
    let end = error.message.iter().position(|&c| c == 0);
    let bytes: Vec<u8> = error.message[..end.unwrap_or(0)].iter().map(|&c| c as u8).collect();
    Error::from(Detail {
        status: Status::from_raw(status),
        message: String::from_utf8_lossy(&bytes).into_owned(),
        value: error.value,
        native_code: error.native_code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_go_both_ways_and_have_names() {
        for &status in ALL {
            assert_eq!(Status::from_raw(status.raw()), status);
            assert_ne!(status.to_string(), "UNKNOWN");
            assert!(!status.text().is_empty());
        }
        assert_eq!(Status::from_raw(-12345), Status::Unknown(-12345));
        assert_eq!(Status::Unknown(-12345).to_string(), "UNKNOWN");
    }

    #[test]
    fn groups() {
        let group = |status| Error::new(status, "");
        assert!(matches!(group(Status::Range), Error::Argument(_)));
        assert!(matches!(group(Status::State), Error::Order(_)));
        assert!(matches!(group(Status::OutOfPages), Error::Capacity(_)));
        assert!(matches!(group(Status::Busy), Error::Busy(_)));
        assert!(matches!(group(Status::NoDriver), Error::Unavailable(_)));
        assert!(matches!(group(Status::Driver), Error::Driver(_)));
        assert!(matches!(group(Status::DriverSticky), Error::Lost(_)));
        assert!(matches!(group(Status::Internal), Error::Internal(_)));
        assert!(matches!(group(Status::Io), Error::Io(_)));
        assert!(matches!(group(Status::Unknown(5)), Error::Internal(_)));
    }
}
