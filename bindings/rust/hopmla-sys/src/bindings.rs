// SPDX-License-Identifier: Apache-2.0
// Made from include/hopmla by tests/consumers/declarations.py --write; not to be edited.

use std::ffi::c_void;
use std::marker::{PhantomData, PhantomPinned};
use std::os::raw::c_char;

/// CUDA's own, for a `CUcontext` of the caller's.
#[repr(C)]
pub struct CUctx_st {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

// version.h

pub const HOPMLA_VERSION_MAJOR: u32 = 0;

pub const HOPMLA_VERSION_MINOR: u32 = 1;

pub const HOPMLA_VERSION_PATCH: u32 = 0;

/// The number in the shared object's name, libhopmla.so.N: it changes when a program built before must be rebuilt.
pub const HOPMLA_ABI_VERSION: u32 = 0;

extern "C" {
    /// Version of the library in use.
    ///
    /// Returns major << 16 | minor << 8 | patch.
    ///
    /// Thread-safe. Makes no driver call.
    pub fn hopmla_version() -> u32;
}

extern "C" {
    /// The same as text, for example "0.1.0".
    ///
    /// Returns a constant string; the caller does not free it.
    ///
    /// Thread-safe. Makes no driver call.
    pub fn hopmla_version_string() -> *const c_char;
}

extern "C" {
    /// ABI number of the library in use. A binding refuses to start when it is not its HOPMLA_ABI_VERSION.
    ///
    /// Thread-safe. Makes no driver call.
    pub fn hopmla_abi_version() -> u32;
}

// status.h

/// Result of a call: 0 is success, a negative value says what the caller can do about it. Values are never reused.
pub type hopmla_status = i32;
pub const HOPMLA_OK: i32 = 0;

// The call is wrong: mend the program.
/// a value is outside its documented range
pub const HOPMLA_ERROR_ARGUMENT: i32 = -100;
/// a required pointer or handle is NULL
pub const HOPMLA_ERROR_NULL: i32 = -101;
/// struct_size is smaller than the first release's struct, or absurd
pub const HOPMLA_ERROR_STRUCT_SIZE: i32 = -102;
/// the struct is newer than the library and uses a field it does not know
pub const HOPMLA_ERROR_STRUCT_TAIL: i32 = -103;
/// an enum field holds an unknown value
pub const HOPMLA_ERROR_ENUM: i32 = -104;
/// sizes multiply to more than 64 bits, or counts exceed the ABI's limits
pub const HOPMLA_ERROR_OVERFLOW: i32 = -105;
/// the sequence was released
pub const HOPMLA_ERROR_STALE_ID: i32 = -106;
/// the sequence id was never given out by this pool
pub const HOPMLA_ERROR_FOREIGN_ID: i32 = -107;
/// a sequence stands twice in one batch
pub const HOPMLA_ERROR_DUPLICATE_ID: i32 = -108;
/// a pointer or stride is not a multiple of 16 bytes
pub const HOPMLA_ERROR_ALIGNMENT: i32 = -109;
/// an element type that does not go with the pool's format
pub const HOPMLA_ERROR_DTYPE: i32 = -110;
/// objects of different contexts, pools or backends were mixed
pub const HOPMLA_ERROR_MISMATCH: i32 = -111;
/// the batch is outside the envelope that the plan declared
pub const HOPMLA_ERROR_ENVELOPE: i32 = -112;
/// tokens outside the sequence, or more tokens than were reserved
pub const HOPMLA_ERROR_RANGE: i32 = -113;

// The call comes at the wrong time.
/// not in the order the step requires
pub const HOPMLA_ERROR_STATE: i32 = -200;
/// not while the stream is being captured
pub const HOPMLA_ERROR_CAPTURE: i32 = -201;
/// the pool has no storage to read or write
pub const HOPMLA_ERROR_NO_STORAGE: i32 = -202;

// There is not enough of something: free some, then retry.
/// hopmla_error.value says how many pages are missing
pub const HOPMLA_ERROR_OUT_OF_PAGES: i32 = -300;
/// ordinary or page-locked
pub const HOPMLA_ERROR_OUT_OF_HOST_MEMORY: i32 = -301;
pub const HOPMLA_ERROR_OUT_OF_DEVICE_MEMORY: i32 = -302;
/// more sequences or plans than the pool can hold
pub const HOPMLA_ERROR_TOO_MANY: i32 = -303;

// Nothing is wrong: retry when earlier work has finished.
pub const HOPMLA_ERROR_BUSY: i32 = -400;

// This machine or build cannot do it.
/// libcuda.so.1 was not found or does not start
pub const HOPMLA_ERROR_NO_DRIVER: i32 = -500;
/// the driver is older than the embedded kernels need
pub const HOPMLA_ERROR_OLD_DRIVER: i32 = -501;
/// no such device
pub const HOPMLA_ERROR_NO_DEVICE: i32 = -502;
/// the device is not of compute capability 9.0
pub const HOPMLA_ERROR_DEVICE: i32 = -503;
/// the library was built without this backend
pub const HOPMLA_ERROR_NOT_BUILT: i32 = -504;
/// a valid request that this release does not implement
pub const HOPMLA_ERROR_UNSUPPORTED: i32 = -505;

// The CUDA driver failed; hopmla_error.native_code holds its code.
pub const HOPMLA_ERROR_DRIVER: i32 = -600;
/// the CUDA context is lost: restart the process
pub const HOPMLA_ERROR_DRIVER_STICKY: i32 = -700;
/// a defect of the library: report it
pub const HOPMLA_ERROR_INTERNAL: i32 = -800;

// Something outside the library failed.
/// a file could not be written or read: hopmla_error.native_code holds errno; or
/// the caller's write callback ended an export (0)
pub const HOPMLA_ERROR_IO: i32 = -900;

/// Where an error's text goes. The caller owns it, usually on its stack, and passes its address as the last argument of
/// a call, or NULL. A call writes to it only when it fails. Every function that takes one returns STRUCT_SIZE, and does
/// nothing, when its struct_size is too small or more than 4096.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_error {
    /// sizeof(hopmla_error), set by the caller
    pub struct_size: u32,
    /// the status that the call returned
    pub status: hopmla_status,
    /// the driver's code for the DRIVER statuses, errno for IO, else 0
    pub native_code: i32,
    /// 0
    pub reserved: u32,
    /// a number that belongs to the status (pages missing, index of the bad element), else 0
    pub value: i64,
    /// UTF-8, NUL-terminated; names the argument and what is wrong with it
    pub message: [c_char; 232],
}

extern "C" {
    /// Makes an error struct ready for use: zeroes size bytes and sets struct_size to size.
    ///
    /// `error`: the caller's struct
    ///
    /// `size`: sizeof(hopmla_error) in the caller's header
    ///
    /// Returns OK, NULL, or STRUCT_SIZE when size is too small or more than 4096 (nothing is written then).
    ///
    /// Thread-safe on distinct structs.
    pub fn hopmla_error_init(error: *mut hopmla_error, size: u64) -> hopmla_status;
}

extern "C" {
    /// Name of a status, for example "OUT_OF_PAGES"; "UNKNOWN" for a value that is none.
    ///
    /// Returns a constant string. Thread-safe.
    pub fn hopmla_status_name(status: hopmla_status) -> *const c_char;
}

extern "C" {
    /// One sentence on what a status means and what to do.
    ///
    /// Returns a constant string. Thread-safe.
    pub fn hopmla_status_text(status: hopmla_status) -> *const c_char;
}

// context.h

#[repr(C)]
pub struct CUstream_st {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// CUDA's own opaque types, so that a CUcontext, CUstream or CUevent can be passed as it is without a CUDA header.
/// On the CPU backend streams, events and graphs are the library's own objects behind the same types.
pub type hopmla_stream = *mut CUstream_st;

/// Opaque, reference counted: a pool keeps its context alive, a plan its pool. Handles may be destroyed in any order.
#[repr(C)]
pub struct hopmla_context {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}
/// CUDA where a driver and a device of compute capability 9.0 are, else CPU
pub const HOPMLA_BACKEND_AUTO: i32 = 0;
pub const HOPMLA_BACKEND_CPU: i32 = 1;
pub const HOPMLA_BACKEND_CUDA: i32 = 2;
pub const HOPMLA_CPU_ISA_AUTO: i32 = 0;
pub const HOPMLA_CPU_ISA_PORTABLE: i32 = 1;
/// AVX2, FMA, F16C
pub const HOPMLA_CPU_ISA_AVX2: i32 = 2;
/// AVX-512 F, BW, DQ, VL
pub const HOPMLA_CPU_ISA_AVX512: i32 = 3;
pub const HOPMLA_LOG_ERROR: i32 = 1;
pub const HOPMLA_LOG_WARNING: i32 = 2;
pub const HOPMLA_LOG_INFO: i32 = 3;
pub const HOPMLA_LOG_DEBUG: i32 = 4;

/// Receives a log line. Called on the thread that made the library call, with no lock held. The text is valid during
/// the call only. It must not call the library, throw or unwind.
pub type hopmla_log_fn = Option<unsafe extern "C" fn(user: *mut c_void, level: i32, text: *const c_char)>;
/// bookkeeping, ordinary host memory
pub const HOPMLA_MEMORY_HOST: i32 = 1;
/// host memory that the device reads and writes (page-locked, mapped)
pub const HOPMLA_MEMORY_PINNED: i32 = 2;
/// device memory that holds KV pages
pub const HOPMLA_MEMORY_POOL: i32 = 3;
/// device memory that holds a plan's tables
pub const HOPMLA_MEMORY_TABLES: i32 = 4;
/// device memory that holds partial results, and what hopmla_memory_alloc gives
pub const HOPMLA_MEMORY_WORKSPACE: i32 = 5;

/// Allocates memory. "Device memory" is host memory on the CPU backend. On CUDA the device context is current, but for
/// HOST memory, which may be asked for under a pool's mutex: the callback must not call the library.
///
/// `user`: the pointer given with the callback
///
/// `size`: bytes, at least 1
///
/// `alignment`: a power of two, at most 4096
///
/// `kind`: HOPMLA_MEMORY_*
///
/// `stream`: the stream the memory is first used on, NULL where not known
///
/// Returns the address, or NULL when there is none (the call then fails with an OUT_OF_…_MEMORY status).
///
/// Books, pools, tables, workspaces and staging come from here; what a backend keeps for itself (threads and their
/// scratch, streams, events, graphs, measurements) does not.
pub type hopmla_alloc_fn = Option<
    unsafe extern "C" fn(user: *mut c_void, size: u64, alignment: u64, kind: i32, stream: hopmla_stream) -> *mut c_void,
>;

/// Takes back what the allocator gave, with the same size and kind.
pub type hopmla_free_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, address: *mut c_void, size: u64, kind: i32, stream: hopmla_stream)>;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_context_options {
    pub struct_size: u32,
    /// HOPMLA_BACKEND_*
    pub backend: i32,
    /// CUDA device ordinal, 0 or more; its primary context is used. Ignored when cu_context
    /// is set, and on CPU
    pub device: i32,
    /// threads of the CPU backend, the calling one counted; 0: one per core this process may use; at most 1024
    pub cpu_threads: i32,
    /// HOPMLA_CPU_ISA_*; one that the processor lacks is UNSUPPORTED
    pub cpu_isa: i32,
    /// lines above this level are not made; 0: none
    pub log_level: i32,
    /// the caller's CUcontext, or NULL. It must outlive the context and its children. Not
    /// looked at on CPU
    pub cu_context: *mut CUctx_st,
    /// or NULL
    pub log: hopmla_log_fn,
    pub log_user: *mut c_void,
    /// with free, or both NULL for the library's own
    pub alloc: hopmla_alloc_fn,
    pub free: hopmla_free_fn,
    pub alloc_user: *mut c_void,
}

extern "C" {
    /// Sets every field to its default. `size`: sizeof the struct in the caller's header.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_context_options_init(options: *mut hopmla_context_options, size: u64) -> hopmla_status;
}

/// What a context runs on.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_context_info {
    pub struct_size: u32,
    /// HOPMLA_BACKEND_CPU or HOPMLA_BACKEND_CUDA
    pub backend: i32,
    /// ordinal; -1 on CPU
    pub device: i32,
    /// CUDA version the driver supports, for example 13000; 0 on CPU
    pub driver_version: i32,
    pub compute_major: i32,
    pub compute_minor: i32,
    /// streaming multiprocessors, or threads of the CPU backend
    pub units: i32,
    /// the one in use; 0 on CUDA
    pub cpu_isa: i32,
    /// of the device, or of the machine
    pub memory_bytes: u64,
    /// 0 where not known
    pub l2_bytes: u64,
    /// of the device or processor
    pub name: [c_char; 128],
}

extern "C" {
    /// Creates a context. On CUDA it retains the primary context or takes the caller's, loads every kernel, and leaves the
    /// calling thread's current context as it was; nothing is loaded lazily afterwards.
    ///
    /// `options`: NULL for the defaults
    ///
    /// `context`: receives the handle; untouched on failure
    ///
    /// Ownership: the caller's, until hopmla_context_destroy.
    /// Thread-safe. May synchronise the device while it loads: call it outside stream capture. A context does not survive
    /// fork(): the child makes its own.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, UNSUPPORTED, NO_DRIVER, OLD_DRIVER, NO_DEVICE, DEVICE,
    /// NOT_BUILT, and the driver's. With AUTO only argument errors, UNSUPPORTED and OUT_OF_HOST_MEMORY: what keeps
    /// CUDA from being used is logged at INFO.
    pub fn hopmla_context_create(
        options: *const hopmla_context_options,
        context: *mut *mut hopmla_context,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Drops the caller's reference; the context goes when its last pool has gone. NULL is allowed.
    /// Thread-safe; the handle must not be used afterwards.
    pub fn hopmla_context_destroy(context: *mut hopmla_context);
}

extern "C" {
    /// Describes what a context runs on.
    ///
    /// `info`: struct_size set by the caller
    /// Thread-safe. Makes no driver call.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_context_describe(
        context: *mut hopmla_context,
        info: *mut hopmla_context_info,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

/// Measured ceilings of the device, and the conditions that they were measured under.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_ceilings {
    pub struct_size: u32,
    /// 0
    pub reserved: u32,
    /// reading memory far larger than the cache
    pub read_bytes_per_second: f64,
    /// bf16 multiply-add with float32 sums on random data, in the first milliseconds
    pub flops_burst: f64,
    /// the same after about two seconds of it, when power limits the clock
    pub flops_sustained: f64,
    /// when it was, in seconds since 1970
    pub unix_time: i64,
    /// clock of the multiprocessors during the sustained part, as NVML tells it; 0 where
    /// it could not be read, and on CPU
    pub sustained_mhz: f64,
    /// power of the card then; likewise
    pub sustained_watts: f64,
    /// its release, for example "580.159.03"; empty where not known
    pub driver: [c_char; 32],
}

extern "C" {
    /// Measures the ceilings that decode times are held against, by kernels of the library's own: a streaming read, and a
    /// loop of matrix multiplications without memory traffic. Takes about three seconds and allocates 1 GiB of device
    /// memory meanwhile (64 MiB on CPU).
    ///
    /// Thread-safe, but meaningless while other work runs. Synchronises; not capturable.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, and the driver's.
    pub fn hopmla_measure_ceilings(
        context: *mut hopmla_context,
        ceilings: *mut hopmla_ceilings,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Reads ceilings that were measured earlier from a file, or measures them as above and adds them to it. They hold for
    /// one model of device with its memory and multiprocessors (on CPU: the processor, its instruction set in use and the
    /// number of threads), one release of the driver and one of this library: two cards of a model share them.
    ///
    /// A file that is damaged or missing means that they are measured; one that cannot be written is logged as a WARNING. It
    /// is replaced whole, so that a reader never finds half of it. Ceilings that were taken on a busy device stay in it: delete
    /// the file to have them measured anew.
    ///
    /// `path`: the file; NULL: $XDG_CACHE_HOME/hopmla/ceilings or ~/.cache/hopmla/ceilings, whose folders are made. Where
    /// neither variable is set they are measured and not kept
    ///
    /// Returns OK, NULL, STRUCT_SIZE, ARGUMENT when path is empty, and the driver's.
    pub fn hopmla_load_ceilings(
        context: *mut hopmla_context,
        path: *const c_char,
        ceilings: *mut hopmla_ceilings,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

// device.h

#[repr(C)]
pub struct CUevent_st {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

pub type hopmla_event = *mut CUevent_st;

#[repr(C)]
pub struct CUgraphExec_st {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

pub type hopmla_graph = *mut CUgraphExec_st;

extern "C" {
    /// Allocates memory that the library's kernels can use, through the context's allocator.
    ///
    /// `bytes`: 1 … 2^47
    ///
    /// `kind`: HOPMLA_MEMORY_WORKSPACE (device) or HOPMLA_MEMORY_PINNED (host, readable by the device)
    ///
    /// `memory`: receives the address, aligned to 1024 bytes, as memory for pools and plans is;
    /// free it with hopmla_memory_free and the same bytes and kind
    /// Not capturable.
    ///
    /// Returns also ARGUMENT, ENUM.
    pub fn hopmla_memory_alloc(
        context: *mut hopmla_context,
        bytes: u64,
        kind: i32,
        memory: *mut *mut c_void,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Frees it. NULL memory is allowed. Work that uses it must have finished. Not capturable.
    pub fn hopmla_memory_free(context: *mut hopmla_context, memory: *mut c_void, bytes: u64, kind: i32);
}

extern "C" {
    /// Enqueues a copy in any direction between host and device. Pageable host memory is read before the call returns;
    /// a copy to pageable host memory has finished when it returns; pinned memory must stay valid until the stream is there.
    /// Capturable with pinned and device memory.
    ///
    /// Returns also ARGUMENT for more than 2^47 bytes, CAPTURE for pageable memory
    /// while the stream is captured.
    pub fn hopmla_memory_copy(
        context: *mut hopmla_context,
        destination: *mut c_void,
        source: *const c_void,
        bytes: u64,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Enqueues a fill of device memory with one byte value. Capturable.
    ///
    /// Returns also ARGUMENT for more than 2^47 bytes.
    pub fn hopmla_memory_fill(
        context: *mut hopmla_context,
        destination: *mut c_void,
        value: u8,
        bytes: u64,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Creates a stream that does not wait for the default stream. Destroy it before the context's last reference goes.
    pub fn hopmla_stream_create(
        context: *mut hopmla_context,
        stream: *mut hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Destroys a stream; work in it still finishes. NULL is allowed.
    pub fn hopmla_stream_destroy(context: *mut hopmla_context, stream: hopmla_stream);
}

extern "C" {
    /// Waits until the stream's work has finished, and reports what failed in it. Not capturable.
    pub fn hopmla_stream_synchronize(
        context: *mut hopmla_context,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Makes later work of the stream wait for the event. Capturable: the event is then one from outside the capture.
    pub fn hopmla_stream_wait_event(
        context: *mut hopmla_context,
        stream: hopmla_stream,
        event: hopmla_event,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Creates an event with a time stamp.
    pub fn hopmla_event_create(
        context: *mut hopmla_context,
        event: *mut hopmla_event,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Destroys an event. NULL is allowed.
    pub fn hopmla_event_destroy(context: *mut hopmla_context, event: hopmla_event);
}

extern "C" {
    /// Enqueues the event. Not capturable.
    pub fn hopmla_event_record(
        context: *mut hopmla_context,
        event: hopmla_event,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Waits until the event has happened.
    pub fn hopmla_event_synchronize(
        context: *mut hopmla_context,
        event: hopmla_event,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Microseconds between two events that have happened.
    ///
    /// Returns also STATE when one has not, or has no time stamp.
    pub fn hopmla_event_elapsed(
        context: *mut hopmla_context,
        begin: hopmla_event,
        end: hopmla_event,
        microseconds: *mut f64,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Starts capture: calls on the stream are recorded instead of run, until hopmla_graph_end.
    ///
    /// Returns also CAPTURE when
    /// the stream is being captured already, ARGUMENT for the default stream.
    pub fn hopmla_graph_begin(
        context: *mut hopmla_context,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Ends capture and makes a graph that can be launched any number of times.
    ///
    /// `graph`: receives the graph; destroy it with hopmla_graph_destroy. Plans captured in it must outlive its launches
    ///
    /// Returns also STATE when the stream is not being captured, or its capture was broken.
    pub fn hopmla_graph_end(
        context: *mut hopmla_context,
        stream: hopmla_stream,
        graph: *mut hopmla_graph,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Enqueues one run of the graph.
    pub fn hopmla_graph_launch(
        context: *mut hopmla_context,
        graph: hopmla_graph,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Destroys a graph whose launches have finished. NULL is allowed.
    pub fn hopmla_graph_destroy(context: *mut hopmla_context, graph: hopmla_graph);
}

// pool.h
pub const HOPMLA_PAGE_TOKENS: u32 = 64;
pub const HOPMLA_LATENT_DIM: u32 = 512;
pub const HOPMLA_ROPE_DIM: u32 = 64;
/// with a rope part; without one HOPMLA_LATENT_DIM
pub const HOPMLA_QK_DIM: u32 = 576;
pub const HOPMLA_DTYPE_BF16: i32 = 1;
pub const HOPMLA_DTYPE_FP16: i32 = 2;
pub const HOPMLA_DTYPE_FP32: i32 = 3;
/// 512 latent then 64 rope values of bfloat16: 1152 bytes
pub const HOPMLA_KV_BF16: i32 = 1;
/// the same of IEEE half precision
pub const HOPMLA_KV_FP16: i32 = 2;
/// 512 latent values of bfloat16, no rope part: 1024 bytes
pub const HOPMLA_KV_BF16_NOPE: i32 = 3;
/// the same of IEEE half precision
pub const HOPMLA_KV_FP16_NOPE: i32 = 4;
/// allocated at creation
pub const HOPMLA_STORAGE_LIBRARY: i32 = 1;
/// the caller's, given at creation, which must outlive the pool and every launch
pub const HOPMLA_STORAGE_CALLER: i32 = 2;
/// none: the pool only books, for a scheduler process; no plan can be made on it
pub const HOPMLA_STORAGE_NONE: i32 = 3;

#[repr(C)]
pub struct hopmla_pool {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// A sequence in a pool. Ids carry a generation: one that was released is STALE_ID, one of another pool FOREIGN_ID (a
/// process that makes more than 65,535 pools meets the same marks again). 0 is never an id.
pub type hopmla_seq = u64;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_pool_options {
    pub struct_size: u32,
    /// HOPMLA_KV_*; no default
    pub format: i32,
    /// HOPMLA_STORAGE_*
    pub storage: i32,
    /// 1 … 65535
    pub layers: u32,
    /// pages a layer, 1 … 2^31 − 1; or 0 to give bytes
    pub pages: u64,
    /// capacity in bytes over all layers, rounded down to whole pages; or 0 to give pages
    pub bytes: u64,
    /// live at one time, 1 … 2^24 − 1
    pub max_sequences: u32,
    /// 64
    pub page_tokens: u32,
    /// STORAGE_CALLER: device memory, 1024-byte aligned, layers × pages × page bytes
    pub memory: *mut c_void,
    /// STORAGE_CALLER: its size
    pub memory_bytes: u64,
}

extern "C" {
    /// Sets every field to its default.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_pool_options_init(options: *mut hopmla_pool_options, size: u64) -> hopmla_status;
}

/// Where every byte of a pool is, for engines and transfer libraries that touch pages themselves. Row t of page p of
/// layer l starts at base + l·layer_stride + p·page_stride + t·row_stride.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_pool_layout {
    pub struct_size: u32,
    pub format: i32,
    pub storage: i32,
    /// HOPMLA_BACKEND_CPU or HOPMLA_BACKEND_CUDA: the kind of memory
    pub backend: i32,
    /// ordinal; -1 on CPU
    pub device: i32,
    pub layers: u32,
    pub page_tokens: u32,
    /// bytes
    pub row_stride: u32,
    pub pages: u64,
    /// bytes
    pub page_stride: u64,
    /// bytes
    pub layer_stride: u64,
    /// of the whole region, one piece
    pub bytes: u64,
    /// of the books, in ordinary host memory, before any sequence exists
    pub host_bytes: u64,
    /// NULL without storage, or before creation
    pub base: *mut c_void,
}

extern "C" {
    /// Sizes of a pool before it is made. `layout`: struct_size set by the caller; the rest is written on success
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, OVERFLOW.
    pub fn hopmla_pool_query(
        context: *mut hopmla_context,
        options: *const hopmla_pool_options,
        layout: *mut hopmla_pool_layout,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Creates a pool. Pages are not cleared: a page's rows hold whatever was there until they are appended, and no kernel
    /// lets them reach a result.
    ///
    /// Ownership: the caller's, until hopmla_pool_destroy; the pool keeps its context alive. *pool is untouched on failure.
    /// Not capturable.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, OVERFLOW, ALIGNMENT, and the driver's.
    pub fn hopmla_pool_create(
        context: *mut hopmla_context,
        options: *const hopmla_pool_options,
        pool: *mut *mut hopmla_pool,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Drops the caller's reference and with it every sequence; storage goes when the last plan has gone too and the last
    /// step has passed its fence. NULL is allowed.
    pub fn hopmla_pool_destroy(pool: *mut hopmla_pool);
}

extern "C" {
    /// Says where the pool's bytes are.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_pool_describe(
        pool: *mut hopmla_pool,
        layout: *mut hopmla_pool_layout,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_pool_stats {
    pub struct_size: u32,
    /// live
    pub sequences: u32,
    pub pages_total: u64,
    /// that a reserve can take, pinned ones included
    pub pages_free: u64,
    /// owned by a sequence, or the source of a copy until its sequence's next commit
    pub pages_used: u64,
    /// of these, owned by more than one
    pub pages_shared: u64,
    /// used or free, that a step not yet past its fence may touch
    pub pages_pinned: u64,
    /// most ever used
    pub pages_high_water: u64,
    /// over all sequences, shared ones counted for each
    pub tokens_committed: u64,
    /// reserved and not yet committed
    pub tokens_reserved: u64,
    /// copy-on-write copies booked and not yet enqueued
    pub copies_owed: u64,
}

extern "C" {
    /// Reads the books. While a step is pending, counting pinned pages takes time in proportion to the pool's pages; the
    /// mutex is let go between pieces, so figures may be of slightly different moments while other threads work.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_pool_get_stats(
        pool: *mut hopmla_pool,
        stats: *mut hopmla_pool_stats,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Creates `count` empty sequences. Takes no page.
    ///
    /// `seqs`: \[count\], receives the ids; untouched on failure
    ///
    /// Returns OK, NULL, TOO_MANY, OUT_OF_HOST_MEMORY.
    pub fn hopmla_seq_create(
        pool: *mut hopmla_pool,
        seqs: *mut hopmla_seq,
        count: u32,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

/// As the length of a fork: every committed token.
pub const HOPMLA_ALL_TOKENS: u64 = u64::MAX;

extern "C" {
    /// Makes a sequence that shares the first `length` committed tokens of another. No page is taken or copied now: whoever
    /// first appends into a shared partial page gets a page of its own at hopmla_seq_reserve, filled by a copy of all layers
    /// that the next hopmla_plan_update with that sequence enqueues after the writes it depends on.
    ///
    /// `length`: 0 … committed tokens of the parent, or HOPMLA_ALL_TOKENS
    ///
    /// `child`: receives the id; untouched on failure
    ///
    /// Returns OK, NULL, STALE_ID, FOREIGN_ID, RANGE, TOO_MANY, OUT_OF_HOST_MEMORY; STATE when the parent committed tokens
    /// behind a copy that no plan update has enqueued yet.
    pub fn hopmla_seq_fork(
        pool: *mut hopmla_pool,
        parent: hopmla_seq,
        length: u64,
        child: *mut hopmla_seq,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Makes room for new tokens: afterwards sequence i can take n_new\[i\] tokens beyond its committed ones. All or nothing
    /// for the whole batch. Reserving again replaces the former figure where it is larger, and changes nothing where it is
    /// smaller.
    ///
    /// `seqs`: \[count\], no id twice
    ///
    /// `n_new`: \[count\], tokens; 0 is allowed. A sequence may hold 2^20 tokens
    ///
    /// Returns OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID, RANGE, OUT_OF_HOST_MEMORY, or OUT_OF_PAGES with the number of
    /// missing pages in error->value.
    pub fn hopmla_seq_reserve(
        pool: *mut hopmla_pool,
        seqs: *const hopmla_seq,
        n_new: *const u32,
        count: u32,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Moves reserved tokens into the sequence. To be called once a step's append is enqueued (or has run). All or nothing.
    ///
    /// `n_tokens`: \[count\], at most what is reserved; 0 is allowed
    ///
    /// Returns OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID, RANGE.
    pub fn hopmla_seq_commit(
        pool: *mut hopmla_pool,
        seqs: *const hopmla_seq,
        n_tokens: *const u32,
        count: u32,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Shortens sequences: tokens beyond lengths\[i\], committed or reserved, are dropped and their pages freed. All or
    /// nothing. Steps in flight may still read them: a page is not reused before they have passed.
    ///
    /// `lengths`: \[count\], tokens, 0 … committed + reserved. A length beyond the committed tokens drops reserved ones
    ///
    /// Returns OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID, RANGE.
    pub fn hopmla_seq_truncate(
        pool: *mut hopmla_pool,
        seqs: *const hopmla_seq,
        lengths: *const u64,
        count: u32,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Releases sequences and their pages; safe while steps in flight read them. All or nothing. The ids are stale
    /// afterwards.
    ///
    /// Returns OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID.
    pub fn hopmla_seq_release(
        pool: *mut hopmla_pool,
        seqs: *const hopmla_seq,
        count: u32,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_seq_info {
    pub struct_size: u32,
    /// in its list
    pub pages: u32,
    /// of these, owned by another sequence too
    pub pages_shared: u32,
    /// 1 when the next plan update copies its partial page
    pub copy_owed: u32,
    /// tokens
    pub committed: u64,
    /// tokens beyond the committed ones
    pub reserved: u64,
}

extern "C" {
    /// Describes a sequence.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STALE_ID, FOREIGN_ID.
    pub fn hopmla_seq_describe(
        pool: *mut hopmla_pool,
        seq: hopmla_seq,
        info: *mut hopmla_seq_info,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Reads a sequence's page ids, in order of its tokens.
    ///
    /// `pages`: \[capacity\], int32; may be NULL when capacity is 0
    ///
    /// `n_pages`: receives the number of pages; never more than capacity are written
    ///
    /// Returns OK, NULL, STALE_ID, FOREIGN_ID.
    pub fn hopmla_seq_pages(
        pool: *mut hopmla_pool,
        seq: hopmla_seq,
        pages: *mut i32,
        capacity: u32,
        n_pages: *mut u32,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

// plan.h

#[repr(C)]
pub struct hopmla_plan {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}
/// natural logarithm, −inf for an empty row
pub const HOPMLA_LSE_NATURAL: i32 = 0;
/// base 2, −inf for an empty row (FlashInfer)
pub const HOPMLA_LSE_BASE2: i32 = 1;
/// natural logarithm, +inf for an empty row (FlashMLA)
pub const HOPMLA_LSE_NATURAL_POSINF: i32 = 2;

/// The envelope and the conventions of a plan.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_plan_options {
    pub struct_size: u32,
    /// rows of a batch, 1 … 65535
    pub max_batch: u32,
    /// query tokens of a row, 1 … 1024. Up to 8 is the fast range
    pub max_q_tokens: u32,
    /// query heads of this rank, 1 … 256
    pub heads: u32,
    /// tokens of a row, those appended in the step counted, 1 … 2^20
    pub max_kv_tokens: u64,
    /// HOPMLA_LSE_*
    pub lse: i32,
    /// streaming multiprocessors to use at most, 0: all. Ignored on CPU
    pub max_units: u32,
    /// updates that may be under way at one time, 1 … 64
    pub staging_depth: u32,
    /// 0
    pub reserved: u32,
    /// device memory for tables and workspace, 1024-byte aligned, or NULL: the library's
    pub memory: *mut c_void,
    /// its size, at least what hopmla_plan_query says
    pub memory_bytes: u64,
}

extern "C" {
    /// Sets every field to its default; max_batch, heads and max_kv_tokens have none.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_plan_options_init(options: *mut hopmla_plan_options, size: u64) -> hopmla_status;
}

extern "C" {
    /// Memory that a plan needs. `device_bytes`: receives the size for hopmla_plan_options.memory
    ///
    /// `pinned_bytes`: receives the size of the staging ring, which the library allocates
    /// Thread-safe.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT.
    pub fn hopmla_plan_query(
        pool: *mut hopmla_pool,
        options: *const hopmla_plan_options,
        device_bytes: *mut u64,
        pinned_bytes: *mut u64,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Creates a plan with count 0: append writes nothing and decode writes empty rows until the first update.
    ///
    /// Ownership: the caller's, until hopmla_plan_destroy; the plan keeps its pool alive. *plan is untouched on failure.
    /// A pool holds at most 64 plans, those counted whose last step is still under way. Synchronises; not capturable.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, ALIGNMENT, NO_STORAGE, TOO_MANY, and the driver's.
    pub fn hopmla_plan_create(
        pool: *mut hopmla_pool,
        options: *const hopmla_plan_options,
        plan: *mut *mut hopmla_plan,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Destroys a plan. Waits for its steps that have not passed their fence; a step that was never ended is waited for by
    /// synchronising the context. Graphs that hold its launches must not be launched afterwards. NULL is allowed.
    /// Not capturable.
    pub fn hopmla_plan_destroy(plan: *mut hopmla_plan);
}

extern "C" {
    /// Starts a step: says which rows append how many tokens and decode how many query tokens.
    ///
    /// Row i of the batch is seqs\[i\]. Its length in this step is committed + n_append\[i\]; n_append\[i\] must be reserved. Query
    /// token j of q_lens\[i\] sees the first length − (q_lens\[i\] − 1 − j) tokens: causal, bottom-right. Rows of all tensors are
    /// packed in batch order.
    ///
    /// `seqs`: \[count\], no id twice
    ///
    /// `n_append`: \[count\], tokens, or NULL for none. Any number that fits max_kv_tokens
    ///
    /// `q_lens`: \[count\], query tokens, 0 … max_q_tokens, or NULL for none
    ///
    /// `count`: 0 … max_batch
    ///
    /// Arrays are read before it returns. Enqueues one transfer of what has changed, waits of the stream for other plans'
    /// steps that touched the same pages, and the copies that forks owe. Not capturable.
    ///
    /// Returns OK, NULL, STALE_ID, FOREIGN_ID, DUPLICATE_ID, ENVELOPE (n_append adds up to 2^31 or more, too), RANGE,
    /// MISMATCH, CAPTURE; STATE when the last step was started on another stream and not ended; BUSY when every staging
    /// buffer is in use, when the last step ran on another stream and is not past its fence, or when a page is still
    /// in a step of another plan that was not ended. Nothing is changed then. After one of the driver's the step may
    /// be open: update again or end it.
    pub fn hopmla_plan_update(
        plan: *mut hopmla_plan,
        seqs: *const hopmla_seq,
        n_append: *const u32,
        q_lens: *const u32,
        count: u32,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Ends the step: enqueues its fence. Pages that the step reads or writes are pinned from hopmla_plan_update until the
    /// stream has passed it. An update after an update without an end between them belongs to the same step.
    ///
    /// Enqueues one write to host memory. Not capturable.
    ///
    /// Returns OK, NULL, STATE when no step is open or it runs on another stream, CAPTURE, MISMATCH, and the driver's: the
    /// step stays open then; end it again.
    pub fn hopmla_plan_end(plan: *mut hopmla_plan, stream: hopmla_stream, error: *mut hopmla_error) -> hopmla_status;
}

extern "C" {
    /// Says whether every ended step is past its fence. `done`: receives 1 or 0.
    /// Thread-safe. Makes no driver call.
    ///
    /// Returns OK, NULL.
    pub fn hopmla_plan_done(plan: *mut hopmla_plan, done: *mut i32, error: *mut hopmla_error) -> hopmla_status;
}

/// Where the new tokens' rows are. Strides are in elements; 0 means packed. Source row i belongs to the i-th appended
/// token of the step, in batch order.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_append_args {
    pub struct_size: u32,
    pub layer: u32,
    /// of both sources: the pool's own, or HOPMLA_DTYPE_FP32, rounded to nearest even
    pub dtype: i32,
    /// 0
    pub reserved: u32,
    /// rows that the sources hold, 0 … 2^31 − 1: at least those that the step appends; under
    /// graph replay tokens beyond them are left out. With 0 nothing is enqueued, and the
    /// sources may be NULL
    pub tokens: u64,
    /// between tokens; packed: 512
    pub latent_stride: i64,
    /// between tokens; packed: 64; without a rope part 0
    pub rope_stride: i64,
}

extern "C" {
    /// Sets every field to its default.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_append_args_init(args: *mut hopmla_append_args, size: u64) -> hopmla_status;
}

extern "C" {
    /// Writes the step's new tokens into one layer of their pages.
    ///
    /// `latent`: \[tokens, 512\] with its stride, device memory, 16-byte aligned, rows too
    ///
    /// `rope`: \[tokens, 64\] likewise; rotated already. NULL for a pool without a rope part (else ARGUMENT)
    ///
    /// The sources must stay valid until the stream is past it. Enqueues; capturable.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT, DTYPE, ALIGNMENT, RANGE when the step appends more than `tokens`,
    /// MISMATCH, STATE, and the driver's.
    pub fn hopmla_append(
        plan: *mut hopmla_plan,
        args: *const hopmla_append_args,
        latent: *const c_void,
        rope: *const c_void,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

/// Which rows of a layer to read back.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_gather_args {
    pub struct_size: u32,
    pub layer: u32,
    /// of the batch
    pub row: u32,
    /// 0
    pub reserved: u32,
    /// token of the sequence
    pub first: u64,
    /// tokens
    pub count: u64,
    /// of the destination between tokens, in elements; 0: packed, 576, or 512 without a rope
    /// part
    pub stride: i64,
}

extern "C" {
    /// Sets every field to its default.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_gather_args_init(args: *mut hopmla_gather_args, size: u64) -> hopmla_status;
}

extern "C" {
    /// Copies cached rows of one batch row's sequence to a dense array, for a prefill attention or an export.
    ///
    /// `destination`: \[count, 576\], or \[count, 512\] without a rope part, of the pool's element type, device memory,
    /// 16-byte aligned, rows too
    ///
    /// Enqueues; capturable: rows beyond the sequence's length at replay are written as 0.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT (first + count beyond max_kv_tokens too), ALIGNMENT, MISMATCH,
    /// STATE, and the driver's; outside capture also RANGE when first + count exceeds the row's length or the row does
    /// not exist.
    pub fn hopmla_gather(
        plan: *mut hopmla_plan,
        args: *const hopmla_gather_args,
        destination: *mut c_void,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

/// Shapes and strides of a decode. Strides are in elements; 0 means packed. Byte strides must be multiples of 16 for
/// q and out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_decode_args {
    pub struct_size: u32,
    /// ignored by hopmla_decode_paged
    pub layer: u32,
    /// query-token rows that q, out and lse hold: at least the sum of q_lens, at most
    /// max_batch × max_q_tokens. Rows beyond the sum get output 0 and the empty LSE.
    /// With 0 nothing is enqueued, and q and out may be NULL
    pub rows: u32,
    /// factor on q·k before the softmax; no default, finite and > 0
    pub softmax_scale: f32,
    /// packed joint: heads × 576; packed split, and without a rope part: heads × 512
    pub q_token_stride: i64,
    /// packed joint: 576; packed split, and without a rope part: 512
    pub q_head_stride: i64,
    /// split only; packed: heads × 64; without a rope part 0
    pub qr_token_stride: i64,
    /// split only; packed: 64; without a rope part 0
    pub qr_head_stride: i64,
    /// packed: heads × 512
    pub out_token_stride: i64,
    /// packed: 512
    pub out_head_stride: i64,
    /// packed: heads
    pub lse_token_stride: i64,
    /// packed: 1
    pub lse_head_stride: i64,
}

extern "C" {
    /// Sets every field to its default.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_decode_args_init(args: *mut hopmla_decode_args, size: u64) -> hopmla_status;
}

extern "C" {
    /// Attention of the step's query rows over one layer of their sequences, with absorbed weights: for every query token
    /// and head, s_t = softmax_scale · q·k_t over the visible tokens, out = Σ softmax(s)_t · k_t\[0:512\], lse = log Σ exp(s_t).
    ///
    /// `q`: \[rows, heads, 576\], or with q_rope the first 512 values: \[rows, heads, 512\]; pool's element type.
    /// Without a rope part \[rows, heads, 512\]
    ///
    /// `q_rope`: \[rows, heads, 64\] the rotated part, or NULL for a joint q. NULL without a rope part (else ARGUMENT)
    ///
    /// `out`: \[rows, heads, 512\], pool's element type
    ///
    /// `lse`: \[rows, heads\] float32, or NULL
    ///
    /// Device memory, 16-byte aligned (lse: 4), valid until the stream is past it. Sums are float32; probabilities may be
    /// rounded to the element type before they meet the values, and partial results of a row that is split. Two runs of the
    /// same step give the same bits.
    /// Enqueues; capturable.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT, ALIGNMENT, ENVELOPE, RANGE when rows is less than the sum of
    /// q_lens, MISMATCH, STATE, and the driver's.
    /// Source: DeepSeek-V2, arXiv:2405.04434, section 2.1; the absorbed form of its appendix C.
    pub fn hopmla_decode(
        plan: *mut hopmla_plan,
        args: *const hopmla_decode_args,
        q: *const c_void,
        q_rope: *const c_void,
        out: *mut c_void,
        lse: *mut c_void,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

/// The plan's tables on the device, at fixed addresses, for engines that run kernels of their own over the same cache.
/// To be read only. int32 each.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_plan_tables {
    pub struct_size: u32,
    pub max_batch: u32,
    /// entries between rows of block_table
    pub table_stride: u32,
    pub reserved: u32,
    /// \[1\] rows of the batch
    pub count: *const i32,
    /// \[max_batch\] tokens, those of this step counted; 0 beyond count
    pub kv_lens: *const i32,
    /// \[max_batch\]; 0 beyond count
    pub q_lens: *const i32,
    /// \[max_batch + 1\] first query row of each batch row; the total beyond count
    pub q_starts: *const i32,
    /// \[max_batch + 1\] first appended token of each batch row, likewise
    pub append_starts: *const i32,
    /// \[max_batch, table_stride\] page ids; entries beyond a row's pages are garbage
    pub block_table: *const i32,
    /// of the plan in the process, from 1, as records and totals have it
    pub number: u64,
}

extern "C" {
    /// Describes the tables. Thread-safe.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_plan_get_tables(
        plan: *mut hopmla_plan,
        tables: *mut hopmla_plan_tables,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

// paged.h

/// The caller's cache and batch. Everything but sizes lives on the device.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_paged_desc {
    pub struct_size: u32,
    /// HOPMLA_KV_*
    pub format: i32,
    /// rows, 1 … 65535
    pub batch: u32,
    /// host maximum of q_lens, 1 … 1024
    pub max_q_tokens: u32,
    /// host maximum of kv_lens, 1 … 2^20
    pub max_kv_tokens: u64,
    /// 1 … 256
    pub heads: u32,
    /// HOPMLA_LSE_*
    pub lse: i32,
    /// as in hopmla_plan_options
    pub max_units: u32,
    /// 64
    pub page_tokens: u32,
    /// pages in the arrays, 1 … 2^31 − 1; larger or negative table entries are refused
    pub pages: u64,
    /// entries between rows of the block table, at least max_kv_tokens / 64 rounded up
    pub table_stride: u64,
    /// bytes, a multiple of 16; 0: 64 × the row stride
    pub latent_page_stride: u64,
    /// bytes, a multiple of 16; 0: 1152 when rope is NULL, else, and in the NOPE
    /// formats, 1024
    pub latent_row_stride: u64,
    /// bytes; used when rope is an array of its own; 0: 64 × the row stride
    pub rope_page_stride: u64,
    /// bytes; 0: 128
    pub rope_row_stride: u64,
}

extern "C" {
    /// Sets every field to its default.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_paged_desc_init(desc: *mut hopmla_paged_desc, size: u64) -> hopmla_status;
}

extern "C" {
    /// Bytes of workspace that a description needs. Needs no zeroing; 1024-byte aligned; one per stream in use.
    /// Thread-safe.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, OVERFLOW.
    pub fn hopmla_decode_paged_workspace(
        context: *mut hopmla_context,
        desc: *const hopmla_paged_desc,
        bytes: *mut u64,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Schedules a batch on the device. One call serves every layer that is decoded with the same lengths and the same
    /// workspace afterwards. Clears the error word.
    ///
    /// `kv_lens`: \[batch\] int32, tokens; 0 is allowed
    ///
    /// `q_lens`: \[batch\] int32, 0 … max_q_tokens, or NULL: max_q_tokens each
    ///
    /// `workspace`: device memory as hopmla_decode_paged_workspace says
    /// A length outside its range is cut to it and reported in the error word. Enqueues; capturable.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT (a workspace that is too small too: error->value says what
    /// is needed), OVERFLOW, ALIGNMENT, MISMATCH, and the driver's.
    pub fn hopmla_decode_paged_prepare(
        context: *mut hopmla_context,
        desc: *const hopmla_paged_desc,
        kv_lens: *const i32,
        q_lens: *const i32,
        workspace: *mut c_void,
        workspace_bytes: u64,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Decodes one layer. desc must be the one that was prepared.
    ///
    /// `args`: shapes and strides; args->rows at most batch × max_q_tokens, layer ignored
    ///
    /// `latent`: pages of \[64, 512\] latent values, or of \[64, 576\] when rope is NULL and the format has a rope part
    ///
    /// `rope`: pages of \[64, 64\] rotary values, or NULL. NULL in the NOPE formats (else ARGUMENT)
    ///
    /// `block_table`: \[batch, table_stride\] int32. Entries that a row's length does not need are never read; one outside
    /// 0 … pages − 1 that it needs is reported in the error word, and the page counts as all zeros
    /// Other parameters as for hopmla_decode. Enqueues; capturable. With args->rows 0 nothing is enqueued.
    ///
    /// Returns as for hopmla_decode_paged_prepare, and ENVELOPE for args->rows beyond that. Page and row strides are checked
    /// here, since what 0 means depends on rope: below 2^40, rows and pages not overlapping, else
    /// ARGUMENT or ALIGNMENT.
    pub fn hopmla_decode_paged(
        context: *mut hopmla_context,
        desc: *const hopmla_paged_desc,
        args: *const hopmla_decode_args,
        latent: *const c_void,
        rope: *const c_void,
        block_table: *const i32,
        q: *const c_void,
        q_rope: *const c_void,
        out: *mut c_void,
        lse: *mut c_void,
        workspace: *mut c_void,
        workspace_bytes: u64,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}
/// a table entry outside the pages
pub const HOPMLA_PAGED_BAD_PAGE: u32 = 1;
/// a length outside its range
pub const HOPMLA_PAGED_BAD_LENGTH: u32 = 2;
/// query rows beyond args->rows: they were not written
pub const HOPMLA_PAGED_BAD_ROWS: u32 = 4;

extern "C" {
    /// Reads the error word of a workspace. Synchronises the stream; not capturable.
    ///
    /// `word`: receives HOPMLA_PAGED_BAD_* bits, 0 when nothing was wrong since the last prepare
    ///
    /// Returns OK, NULL, ALIGNMENT, CAPTURE, MISMATCH, and the driver's.
    pub fn hopmla_decode_paged_errors(
        context: *mut hopmla_context,
        workspace: *const c_void,
        word: *mut u32,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

// profile.h

#[repr(C)]
pub struct hopmla_profiler {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}
/// hopmla_append
pub const HOPMLA_CALL_APPEND: i32 = 1;
/// hopmla_decode, hopmla_decode_paged
pub const HOPMLA_CALL_DECODE: i32 = 2;
/// hopmla_gather
pub const HOPMLA_CALL_GATHER: i32 = 3;
/// hopmla_plan_update, hopmla_decode_paged_prepare: tables, copies that forks owe, schedule
pub const HOPMLA_CALL_UPDATE: i32 = 4;
/// a launch of a graph that holds appends and decodes; of one kind it counts as that kind
pub const HOPMLA_CALL_LAUNCH: i32 = 5;
pub const HOPMLA_SOURCE_NONE: i32 = 0;
/// computed from shapes and lengths. Reserved: no field says it in this release
pub const HOPMLA_SOURCE_ANALYTIC: i32 = 1;
/// the time of the call itself: the CPU backend, where a call ends with its work
pub const HOPMLA_SOURCE_HOST: i32 = 2;
/// a pair of CUDA events: a few microseconds too long, for groups of calls
pub const HOPMLA_SOURCE_EVENT: i32 = 3;
/// CUPTI's kernel times: first start to last end
pub const HOPMLA_SOURCE_ACTIVITY: i32 = 4;
/// CUPTI's range profiler: hardware counters. Reserved likewise
pub const HOPMLA_SOURCE_COUNTER: i32 = 5;
/// two CUDA events around each call. Ignored on CPU
pub const HOPMLA_CLOCK_EVENTS: u32 = 1;
/// CUPTI activity; where it is given, it takes the place of events. Of a thread's last call
/// the time comes a second later, or with hopmla_profiler_finish
pub const HOPMLA_CLOCK_ACTIVITY: u32 = 2;
pub const HOPMLA_COUNTERS_NONE: i32 = 0;
/// DRAM bytes, L2 bytes, elapsed cycles
pub const HOPMLA_COUNTERS_LIGHT: i32 = 1;
/// and tensor operations, active cycles, tensor cycles
pub const HOPMLA_COUNTERS_FULL: i32 = 2;
/// those of hopmla_profiler_options.metrics, to hopmla_record.custom
pub const HOPMLA_COUNTERS_CUSTOM: i32 = 3;
pub const HOPMLA_CUSTOM_METRICS: u32 = 8;
/// finished records go to the totals and are not kept: for a process that is scraped
/// and whose records nobody reads. hopmla_profiler_read gives none, but it, or a
/// scrape, has to come as often as without this flag: see there
pub const HOPMLA_PROFILER_TOTALS_ONLY: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_profiler_options {
    pub struct_size: u32,
    /// HOPMLA_CLOCK_* bits
    pub clocks: u32,
    /// HOPMLA_COUNTERS_*
    pub counters: i32,
    /// counters are read for every n-th call of a kind; 0 and 1: for each
    pub sample_period: u32,
    /// records that may be under way or wait to be read, 1 … 2^24, rounded up to a power of
    /// two; 0: 65,536. Allocated at creation, 128 bytes each
    pub capacity: u32,
    /// HOPMLA_PROFILER_* bits
    pub flags: u32,
    /// CUSTOM only: CUPTI's names, at most 8, separated by commas; read at creation
    pub metrics: *const c_char,
    /// the libcupti.so to open, or its folder; or NULL: that of HOPMLA_CUPTI_PATH of the
    /// environment, else one already in the process, the loader's, the toolkit's. The first
    /// one that is opened serves the process from then on
    pub cupti_path: *const c_char,
}

extern "C" {
    /// Sets every field to its default.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_profiler_options_init(options: *mut hopmla_profiler_options, size: u64) -> hopmla_status;
}

extern "C" {
    /// Creates a profiler, stopped. What the machine cannot give (no CUPTI, no privilege for counters, another tool that
    /// holds them) is left out: hopmla_profiler_describe says what and why.
    ///
    /// `options`: NULL for the defaults
    ///
    /// Ownership: the caller's, until hopmla_profiler_destroy. *profiler is untouched on failure.
    /// Opens CUPTI and creates events where they are asked for. Not during capture.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT, and the driver's.
    pub fn hopmla_profiler_create(
        context: *mut hopmla_context,
        options: *const hopmla_profiler_options,
        profiler: *mut *mut hopmla_profiler,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Stops and destroys it; records that were not read are lost. May be called in the middle of a step, and waits then
    /// until calls that are being recorded on other threads have returned. NULL is allowed.
    pub fn hopmla_profiler_destroy(profiler: *mut hopmla_profiler);
}

extern "C" {
    /// Starts recording the context's calls. Opening a session of counters takes some 0.2 to 0.7 s, synchronises the device and
    /// breaks captures under way in the context. CUPTI has room for one user in the process: while another one is there, or a
    /// tool such as Nsight, its figures are left out, and hopmla_profiler_describe says so.
    ///
    /// Returns OK, NULL; STATE when this or another profiler of the context is started or still stopping, or after fork(); BUSY when hardware
    /// counters were promised and another profiler of the process holds them; CAPTURE when it is known that a capture
    /// is under way that they would break; and the driver's.
    pub fn hopmla_profiler_start(profiler: *mut hopmla_profiler, error: *mut hopmla_error) -> hopmla_status;
}

extern "C" {
    /// Stops recording; what was recorded can still be read. A session of counters is not closed during a capture that is known,
    /// but by the next start, stop or destroy. Waits until calls that are being recorded on other threads have
    /// returned; synchronises the device only where a session of CUPTI is open. Stopping twice is allowed.
    ///
    /// Returns OK, NULL.
    pub fn hopmla_profiler_stop(profiler: *mut hopmla_profiler, error: *mut hopmla_error) -> hopmla_status;
}

/// What a profiler measures here.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_profiler_info {
    pub struct_size: u32,
    /// 1 or 0
    pub started: i32,
    /// HOPMLA_SOURCE_* of device times
    pub time_source: i32,
    /// HOPMLA_COUNTERS_* that are read
    pub counters: i32,
    /// 1 when a tool listens to ranges
    pub nvtx: i32,
    pub capacity: u32,
    /// records made since creation, dropped ones too
    pub recorded: u64,
    /// of these, those that found the ring full
    pub dropped: u64,
    /// made and not yet read, those of work that still runs too
    pub waiting: u64,
    /// finished without the device time that time_source promises: all 8,192 pairs of
    /// events were in use, because nothing was read for as many calls, or a driver
    /// call failed
    pub untimed: u64,
    /// why there are no activity times though asked for, and how to get them; else empty
    pub activity_missing: [c_char; 256],
    /// the same for counters
    pub counters_missing: [c_char; 256],
}

extern "C" {
    /// Describes it, and takes in what has finished, as hopmla_profiler_read does: makes driver calls (event queries), and with
    /// counters may synchronise the device.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_profiler_describe(
        profiler: *mut hopmla_profiler,
        info: *mut hopmla_profiler_info,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Ceilings that bounds are computed from, of records that are summed or read from now on; until then bound and fraction
    /// are not valid.
    ///
    /// `ceilings`: NULL: none from now on
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT when a rate is not finite and > 0, or reserved is not 0.
    pub fn hopmla_profiler_set_ceilings(
        profiler: *mut hopmla_profiler,
        ceilings: *const hopmla_ceilings,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}
/// kv_tokens, flops, bytes, unique_bytes, intensity. Not for raw calls: the host does not
/// know their lengths. Nor for a decode or launch in a step whose update came before
/// the profiler's start, while another thread is in a call with the same pool
pub const HOPMLA_VALID_WORK: u32 = 1;
/// device_begin_ns, device_ns; with WORK also bytes_per_second, flops_per_second
pub const HOPMLA_VALID_TIME: u32 = 2;
/// bound_ns; with TIME also fraction
pub const HOPMLA_VALID_BOUND: u32 = 4;
/// dram_read_bytes, dram_write_bytes, l2_bytes, elapsed_cycles
pub const HOPMLA_VALID_DRAM: u32 = 8;
/// tensor_flops, active_cycles, tensor_cycles
pub const HOPMLA_VALID_TENSOR: u32 = 16;
/// custom
pub const HOPMLA_VALID_CUSTOM: u32 = 32;
/// a launch of a graph
pub const HOPMLA_RECORD_GRAPH: u32 = 1;
/// without a pool
pub const HOPMLA_RECORD_RAW: u32 = 2;

/// One call, or one launch of a graph with the sums of the calls in it. FLOPs are 2 × 1088, without a rope part 2 × 1024,
/// for each query row (token and head) and visible token. Bytes of a decode are each batch row's cached tokens once, q,
/// out and lse (of a launch with lse, always); of an append, its sources and the rows written; of a gather, rows read and
/// written; of an update, the tables sent and the rows copied, read and written. Partial results that a kernel keeps for
/// itself are not counted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_record {
    pub struct_size: u32,
    /// HOPMLA_CALL_*
    pub kind: i32,
    /// 1, 2, … in the order of the calls; a gap was dropped
    pub id: u64,
    /// number of the plan in the process, from 1, as in hopmla_plan_tables; 0: raw
    pub plan: u64,
    /// of the plan, from 1: one for each update
    pub step: u64,
    /// 1, or those in the graph
    pub calls: u32,
    /// of one call
    pub layer: u32,
    /// batch rows
    pub batch: u32,
    /// query tokens (decode, launch), tokens (append, gather), batch rows (update)
    pub rows: u32,
    pub heads: u32,
    /// HOPMLA_KV_*
    pub format: i32,
    /// of one page of one layer
    pub page_bytes: u32,
    /// HOPMLA_RECORD_*
    pub flags: u32,
    /// HOPMLA_VALID_*
    pub valid: u32,
    /// HOPMLA_SOURCE_* of the device time
    pub time_source: i32,
    /// cached tokens of all batch rows that decode, this step's counted, in one layer
    pub kv_tokens: u64,
    pub flops: u64,
    pub bytes: u64,
    /// the same with cached tokens that several batch rows share counted once
    pub unique_bytes: u64,
    /// CLOCK_MONOTONIC when the call came
    pub host_begin_ns: i64,
    /// that the call took; of a launch, from begin to end
    pub host_ns: i64,
    /// on the same clock; by events wrong by 50 microseconds at most when read within some 30 s
    /// of the call; later, by as much more as the two clocks have drifted apart since
    pub device_begin_ns: i64,
    pub device_ns: i64,
    /// FLOPs / bytes
    pub intensity: f64,
    pub bytes_per_second: f64,
    pub flops_per_second: f64,
    /// the longer of unique bytes at the read ceiling and FLOPs at the higher FLOP ceiling
    pub bound_ns: f64,
    /// bound_ns / device_ns
    pub fraction: f64,
    pub dram_read_bytes: u64,
    pub dram_write_bytes: u64,
    /// asked of L2 by the multiprocessors
    pub l2_bytes: u64,
    pub elapsed_cycles: u64,
    /// of the pool format's wgmma
    pub tensor_flops: u64,
    /// of a multiprocessor on average
    pub active_cycles: f64,
    /// in which its tensor cores worked, on average
    pub tensor_cycles: f64,
    /// in the order of options.metrics; NaN beyond their number
    pub custom: [f64; 8],
}

extern "C" {
    /// Reads records in the order of their calls, finished ones only, and takes them out of the ring. Never waits: what is
    /// still running stays for a later read.
    ///
    /// Calls are not taken in by themselves, but by this function (`capacity` may be 0), hopmla_profiler_describe,
    /// hopmla_profiler_finish, hopmla_profiler_get_totals and hopmla_export_metrics. One of them has to be called, also for
    /// totals alone, before `capacity` records are under way, or those that come then are dropped; and before 8,192 are with
    /// events as the clock, or they have no time. An engine that calls append and decode for each of 61 layers makes 123
    /// records a step: with 50 steps a second 65,536 are full after 10 s and 8,192 after 1.3 s, so read every second. Where
    /// launches of graphs stand for the layers it is two records a step: 655 s and 81 s.
    ///
    /// Counters come in together: those of 512 calls with LIGHT, of 128 with the others, or of fewer when half the ring waits
    /// for them; calls beyond that are not counted until then. This, as in every function that takes in what has finished,
    /// synchronises the device for some 30 to 60 ms, and is put off while a capture is known.
    ///
    /// `records`: \[capacity\] with `record_size` bytes between them; may be NULL when capacity is 0
    ///
    /// `record_size`: sizeof(hopmla_record) in the caller's header; each record's struct_size says what was written
    ///
    /// `count`: receives how many were written
    /// Makes driver calls (event queries).
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_profiler_read(
        profiler: *mut hopmla_profiler,
        records: *mut hopmla_record,
        record_size: u64,
        capacity: u32,
        count: *mut u32,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Waits until every record of a call that has returned can be read. Synchronises the context; not during capture. Behind a
    /// launch that was begun and not ended records wait until its end, or a stop: hopmla_profiler_info.waiting counts them.
    ///
    /// Returns OK, NULL, and the driver's.
    pub fn hopmla_profiler_finish(profiler: *mut hopmla_profiler, error: *mut hopmla_error) -> hopmla_status;
}

/// Sums over finished records since creation, read or not.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_totals {
    pub struct_size: u32,
    pub kind: i32,
    /// number of the plan; 0: all plans and raw calls
    pub plan: u64,
    pub records: u64,
    /// records of the kind that are in none of the others; 0 for one plan: not known
    pub dropped: u64,
    pub calls: u64,
    /// records with a device time: what the times below are of
    pub timed: u64,
    /// of all records whose work is known
    pub flops: u64,
    pub bytes: u64,
    /// of these, those with a device time: for rates, over timed_work_ns
    pub timed_flops: u64,
    pub timed_bytes: u64,
    /// sum
    pub time_ns: i64,
    pub time_min_ns: i64,
    pub time_max_ns: i64,
    /// percentiles, within 5 %
    pub time_p50_ns: i64,
    pub time_p90_ns: i64,
    pub time_p99_ns: i64,
    /// sum over timed records whose bound is known
    pub bound_ns: f64,
    /// their times: bound_ns / bound_time_ns is the mean fraction
    pub bound_time_ns: f64,
    /// records with DRAM counters whose work is known: what raw calls read and wrote has
    /// no analytic bytes to be compared with, and is in their records alone
    pub counted: u64,
    /// their analytic bytes
    pub counted_bytes: u64,
    pub dram_read_bytes: u64,
    pub dram_write_bytes: u64,
    pub l2_bytes: u64,
    /// analytic FLOPs of records with tensor counters whose work is known
    pub counted_flops: u64,
    pub tensor_flops: u64,
    /// of all records whose work is known, as bounds are computed from them
    pub unique_bytes: u64,
    /// of these, those with a device time
    pub timed_unique_bytes: u64,
    /// device times of records whose work is known; less than time_ns where raw calls are
    /// among them
    pub timed_work_ns: i64,
}

extern "C" {
    /// Reads the totals of a kind, of one plan or of all. Takes in what has finished, as hopmla_profiler_read does, and never
    /// waits for what still runs: makes driver calls (event queries), and with counters may synchronise the device.
    ///
    /// `plan`: or NULL for all. Totals are kept for the first 64 plans seen, destroyed ones too
    ///
    /// Returns OK, NULL, STRUCT_SIZE, ENUM, MISMATCH; TOO_MANY when 64 other plans were seen before this one: its records are in
    /// the totals of all plans only.
    pub fn hopmla_profiler_get_totals(
        profiler: *mut hopmla_profiler,
        kind: i32,
        plan: *mut hopmla_plan,
        totals: *mut hopmla_totals,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

/// What a graph holds. Replays call no function of the library, so the caller says it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_launch_note {
    pub struct_size: u32,
    /// calls of hopmla_append with this plan in the graph
    pub appends: u32,
    /// calls of hopmla_decode
    pub decodes: u32,
    /// HOPMLA_DTYPE_* of the appends' sources, or 0: the pool's
    pub dtype: i32,
}

extern "C" {
    /// Sets every field to its default.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_launch_note_init(note: *mut hopmla_launch_note, size: u64) -> hopmla_status;
}

extern "C" {
    /// Tells that a graph with this plan's calls is about to be launched on the step's stream: opens an NVTX range, and
    /// starts a record where a profiler is started. hopmla_plan_launch_end must follow on the same thread, and soon: records are
    /// read in the order of their calls, so those of all threads that come behind this one wait for its end, and are dropped
    /// when they fill the ring.
    ///
    /// Costs the checks of its arguments where nobody listens. May enqueue an event. Not capturable.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ARGUMENT when the note counts no call or more than 2^20, DTYPE, MISMATCH,
    /// CAPTURE, STATE after another begin or outside the open step and its stream, and the driver's.
    pub fn hopmla_plan_launch_begin(
        plan: *mut hopmla_plan,
        note: *const hopmla_launch_note,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Ends it, right after the launch was enqueued or has failed.
    ///
    /// `launched`: 1; or 0 when the launch failed, or nothing was launched after all: then there is no record
    ///
    /// Returns OK, NULL, STATE without a begin or on another stream than its, ARGUMENT when launched is neither 0 nor 1.
    pub fn hopmla_plan_launch_end(
        plan: *mut hopmla_plan,
        launched: i32,
        stream: hopmla_stream,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}
/// a JSON object a record, with the fields' names; invalid figures are left out. Before
/// them one of kind "ceilings" where device or ceilings are given
pub const HOPMLA_EXPORT_JSONL: i32 = 1;
/// a row a record under one header line; invalid figures are empty
pub const HOPMLA_EXPORT_CSV: i32 = 2;
/// Chrome's trace events, which Perfetto reads: host and device tracks, counters
pub const HOPMLA_EXPORT_TRACE: i32 = 3;
/// SVG: intensity against FLOP/s with the ceilings as roofs
pub const HOPMLA_EXPORT_ROOFLINE: i32 = 4;
/// SVG: device times by kind along a time axis
pub const HOPMLA_EXPORT_TIMELINE: i32 = 5;

/// Receives a piece of the text. It must not call the library, throw or unwind.
///
/// Returns 0 to go on; anything else ends
/// the export.
pub type hopmla_write_fn = Option<unsafe extern "C" fn(user: *mut c_void, text: *const c_void, bytes: u64) -> i32>;

/// Where an export goes, and what it says of itself.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hopmla_export_options {
    pub struct_size: u32,
    /// 0
    pub reserved: u32,
    /// a file to write, replaced whole when the export has succeeded; or NULL
    pub path: *const c_char,
    /// with path NULL
    pub write: hopmla_write_fn,
    pub user: *mut c_void,
    /// its name, for titles, or NULL
    pub device: *const c_char,
    /// or NULL: no roofs are drawn
    pub ceilings: *const hopmla_ceilings,
}

extern "C" {
    /// Sets every field to its default.
    ///
    /// Returns OK, NULL, STRUCT_SIZE.
    pub fn hopmla_export_options_init(options: *mut hopmla_export_options, size: u64) -> hopmla_status;
}

extern "C" {
    /// Writes records in a format. Numbers do not depend on the locale.
    ///
    /// Needs about 1 MiB of memory whatever the count is. A path that names no regular file (a pipe) is written in place; so
    /// is an open descriptor (/dev/stdout, /dev/fd/N), from where it stands. A pipe whose reader has gone is IO with EPIPE,
    /// without a signal. Nothing is written before all arguments are found right.
    ///
    /// `records`: \[count\] with record_size bytes between them; may be NULL when count is 0
    /// Makes no driver call.
    ///
    /// Returns OK, NULL, STRUCT_SIZE, STRUCT_TAIL, ENUM, ARGUMENT when neither path nor write is given
    /// or both are, when a ceiling is not finite and > 0, a reserved field not 0, or count is absurd; IO with errno
    /// in error->native_code, or when the callback ended it; OUT_OF_HOST_MEMORY.
    pub fn hopmla_export_records(
        format: i32,
        records: *const hopmla_record,
        record_size: u64,
        count: u64,
        options: *const hopmla_export_options,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}

extern "C" {
    /// Writes OpenMetrics text of a profiler's totals and of a pool's books: monotonic totals, gauges, and a summary of
    /// device times. The only labels are kind and quantile, and device and version of an info metric: the number of lines does
    /// not grow with what a program does. Ends with "# EOF".
    ///
    /// Takes in what has finished, as hopmla_profiler_read does: makes driver calls (event queries), and with counters may
    /// synchronise the device. Without a profiler it makes no driver call.
    ///
    /// `profiler`: or NULL
    ///
    /// `pool`: or NULL
    ///
    /// `options`: device goes to an info metric; ceilings to gauges
    ///
    /// Returns as for hopmla_export_records; MISMATCH when both are given and of different contexts.
    pub fn hopmla_export_metrics(
        profiler: *mut hopmla_profiler,
        pool: *mut hopmla_pool,
        options: *const hopmla_export_options,
        error: *mut hopmla_error,
    ) -> hopmla_status;
}
