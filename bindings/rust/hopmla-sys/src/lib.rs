// SPDX-License-Identifier: Apache-2.0
//! Declarations of `libhopmla`, as its headers have them. Statuses, ownership and thread-safety are the C functions';
//! the `hopmla` crate wraps them safely.

#![allow(non_camel_case_types)]
#![allow(rustdoc::invalid_html_tags, rustdoc::bare_urls)]

mod bindings;

pub use bindings::*;
