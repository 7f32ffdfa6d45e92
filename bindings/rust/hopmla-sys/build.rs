// SPDX-License-Identifier: Apache-2.0
//! Finds libhopmla. See README.md for the order.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

/// The ABI that src/bindings.rs declares.
const ABI: u32 = 0;

fn main() {
    for name in ["HOPMLA_LIB_DIR", "HOPMLA_INCLUDE_DIR", "DOCS_RS"] {
        println!("cargo:rerun-if-env-changed={}", name);
    }
    if env::var_os("DOCS_RS").is_some() {
        return;
    }
    let (library, include) = match env::var_os("HOPMLA_LIB_DIR") {
        Some(directory) => given(PathBuf::from(directory)),
        None => probed(),
    };
    check_abi(&include);
    if let Some(directory) = library {
        println!("cargo:libdir={}", directory.display());
    }
    println!("cargo:include={}", include.display());
}

fn given(library: PathBuf) -> (Option<PathBuf>, PathBuf) {
    if !library.join("libhopmla.so").exists() {
        fail(&format!("HOPMLA_LIB_DIR is {}, where no libhopmla.so is", library.display()));
    }
    let include = match env::var_os("HOPMLA_INCLUDE_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => library
            .ancestors()
            .map(|above| above.join("include"))
            .find(|include| include.join("hopmla/version.h").exists())
            .unwrap_or_else(|| {
                fail("HOPMLA_LIB_DIR is set, but hopmla/version.h is in no include folder above it: set HOPMLA_INCLUDE_DIR")
            }),
    };
    println!("cargo:rustc-link-search=native={}", library.display());
    println!("cargo:rustc-link-lib=dylib=hopmla");
    (Some(library), include)
}

fn probed() -> (Option<PathBuf>, PathBuf) {
    let found = pkg_config::Config::new().range_version("0.1.0".."1.0.0").probe("hopmla");
    let library = match found {
        Ok(library) => library,
        Err(error) => fail(&format!(
            "libhopmla 0.1 or later was not found.\n\
             Install it (with its hopmla.pc where pkg-config looks: PKG_CONFIG_PATH), or set HOPMLA_LIB_DIR to the \
             folder that holds libhopmla.so.\n{}",
            error
        )),
    };
    let include = library
        .include_paths
        .iter()
        .find(|path| path.join("hopmla/version.h").exists())
        .cloned()
        // pkg-config leaves out folders that the C compiler searches anyhow.
        .unwrap_or_else(|| pkg_config::get_variable("hopmla", "includedir").unwrap_or_default().into());
    (library.link_paths.first().cloned(), include)
}

fn check_abi(include: &Path) {
    let header = include.join("hopmla/version.h");
    println!("cargo:rerun-if-changed={}", header.display());
    let text = fs::read_to_string(&header).unwrap_or_else(|error| fail(&format!("{}: {}", header.display(), error)));
    let number = text.lines().find_map(|line| {
        let rest = line.strip_prefix("#define HOPMLA_ABI_VERSION ")?;
        rest.trim().parse::<u32>().ok()
    });
    match number {
        Some(ABI) => {}
        Some(other) => fail(&format!(
            "the library's ABI is number {}, this crate was made for {}: take the crate of the library's release",
            other, ABI
        )),
        None => fail(&format!("{} names no HOPMLA_ABI_VERSION", header.display())),
    }
}

/// Ends the build with a message instead of a panic's.
fn fail(message: &str) -> ! {
    for line in message.lines() {
        eprintln!("hopmla-sys: {}", line);
    }
    exit(1)
}
