// SPDX-License-Identifier: Apache-2.0
//! Element types of tensors and buffers.

use crate::{sys, KvFormat};

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

/// A number that may stand in a buffer: any bytes are a value of it, and it has no padding. Sealed.
pub trait Plain: Sealed + Copy + Send + Sync + 'static {}

/// What append takes its rows from: the pool's own element type, or `f32`, which is rounded to nearest even. Sealed.
pub trait Source: Plain {
    #[doc(hidden)]
    const DTYPE: i32;
}

/// Element type of a pool: bfloat16 or IEEE half precision. Sealed. With the feature `half` its `bf16` and `f16` are
/// elements too.
pub trait Element: Source {
    /// The format of pools that hold it, with a rope part. It is the element of pools without one, too.
    const FORMAT: KvFormat;
}

/// A bfloat16, as its bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Bf16(pub u16);

/// An IEEE half, as its bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct F16(pub u16);

impl Bf16 {
    /// The value as `f32`, exactly.
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// The nearest bfloat16, ties to even.
    pub fn from_f32(value: f32) -> Bf16 {
        let bits = value.to_bits();
        if value.is_nan() {
            return Bf16((bits >> 16) as u16 | 0x40);
        }
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        Bf16((rounded >> 16) as u16)
    }
}

macro_rules! plain {
    ($($type:ty),*) => { $(impl Sealed for $type {} impl Plain for $type {})* };
}
plain!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, Bf16, F16);

macro_rules! element {
    ($type:ty, $format:ident, $dtype:ident) => {
        impl Source for $type {
            const DTYPE: i32 = sys::$dtype;
        }
        impl Element for $type {
            const FORMAT: KvFormat = KvFormat::$format;
        }
    };
}
element!(Bf16, Bf16, HOPMLA_DTYPE_BF16);
element!(F16, Fp16, HOPMLA_DTYPE_FP16);

impl Source for f32 {
    const DTYPE: i32 = sys::HOPMLA_DTYPE_FP32;
}

#[cfg(feature = "half")]
mod of_half {
    use super::*;
    plain!(half::bf16, half::f16);
    element!(half::bf16, Bf16, HOPMLA_DTYPE_BF16);
    element!(half::f16, Fp16, HOPMLA_DTYPE_FP16);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_as_half_does() {
        for i in 0..200_000u32 {
            let value = f32::from_bits(i.wrapping_mul(0x9e37_79b9));
            let (own, theirs) = (Bf16::from_f32(value), half::bf16::from_f32(value));
            assert!(own.0 == theirs.to_bits() || value.is_nan());
            assert!(own.to_f32() == theirs.to_f32() || value.is_nan());
        }
    }
}
