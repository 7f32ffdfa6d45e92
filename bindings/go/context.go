// SPDX-License-Identifier: Apache-2.0

// Package hopmla is paged latent-KV pools and Multi-head Latent Attention (MLA) decode for LLM inference engines, on CPU
// and NVIDIA Hopper: libhopmla through cgo.
//
// A Context is a backend on a device, a Pool holds pages of 64 cached tokens and the sequences in it, a Plan runs an
// engine's steps over them. A cached token is a row of 576 16-bit values, 512 of the latent and 64 of the rotary part;
// a row of q has 576 a head, a row of the output 512. In the NoPE formats there is no rotary part: a token and a row of q
// have 512.
//
// Goroutines may move between threads at any time: the library keeps nothing in a thread, and no call needs
// runtime.LockOSThread. Close may be called in any order and more than once; what is used afterwards returns ErrClosed.
// What was never closed is closed by a finalizer, some time.
//
// On the CPU backend every call has finished when it returns, and the methods that take slices read and write Go memory
// directly. On CUDA calls enqueue, and the methods ending in Device take addresses: the memory behind them has to stay
// until the stream is past the call, which nobody checks.
package hopmla

// #cgo pkg-config: hopmla
// #include "shim.h"
import "C"

import (
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// Sizes of the cache.
const (
	PageTokens = C.HOPMLA_PAGE_TOKENS // tokens of a page
	LatentDim  = C.HOPMLA_LATENT_DIM  // values of a token's latent part, and of a head's output
	RopeDim    = C.HOPMLA_ROPE_DIM    // values of a token's rotary part
	QKDim      = C.HOPMLA_QK_DIM      // values of a token, and of a head's query; Format.QKDim for any format
)

// Version of the library in use, for example "0.1.0".
func Version() string { return C.GoString(C.hopmla_version_string()) }

// Backend is what computes.
type Backend int32

const (
	Auto Backend = C.HOPMLA_BACKEND_AUTO // CUDA where a driver and a device of compute capability 9.0 are, else CPU
	CPU  Backend = C.HOPMLA_BACKEND_CPU
	CUDA Backend = C.HOPMLA_BACKEND_CUDA
)

// ISA is the highest instruction set that the CPU backend may use; one that the processor lacks is ErrUnsupported.
type ISA int32

const (
	ISAAuto     ISA = C.HOPMLA_CPU_ISA_AUTO
	ISAPortable ISA = C.HOPMLA_CPU_ISA_PORTABLE
	ISAAVX2     ISA = C.HOPMLA_CPU_ISA_AVX2
	ISAAVX512   ISA = C.HOPMLA_CPU_ISA_AVX512
)

// ContextOptions say how a context is made; the zero value is the default.
type ContextOptions struct {
	Backend    Backend
	Device     int     // CUDA device ordinal, whose primary context is used
	CPUThreads int     // threads of the CPU backend, the calling one counted; 0: one per core; at most 1024
	CPUISA     ISA     // highest instruction set of the CPU backend
	CUContext  uintptr // the caller's CUcontext instead of a primary one, or 0; it must outlive everything made from it

	// Log receives lines up to LogLevel, on the goroutine that made the call. It must not call this package. A panic in
	// it is recovered, and the line is lost.
	Log      func(level LogLevel, text string)
	LogLevel LogLevel
}

// Context is a backend on a device. All of its methods may be called by any goroutine at any time.
type Context struct {
	handle
	core *core
}

// NewContext creates a context. On CUDA it loads every kernel, nothing lazily afterwards, and may synchronise the device:
// not during a stream capture. errors.Is(err, GroupUnavailable) when the backend cannot be used here; with Auto that is a
// log line instead.
func NewContext(options ContextOptions) (*Context, error) {
	if abi := C.hopmla_abi_version(); abi != C.HOPMLA_ABI_VERSION {
		return nil, failf(ErrUnsupported, "the library's ABI is number %d, this program was built for %d", abi,
			C.HOPMLA_ABI_VERSION)
	}
	raw := C.hopmla_context_options{
		struct_size: C.sizeof_hopmla_context_options,
		backend:     C.int32_t(options.Backend),
		device:      C.int32_t(options.Device),
		cpu_threads: C.int32_t(options.CPUThreads),
		cpu_isa:     C.int32_t(options.CPUISA),
	}
	c := &core{users: 1}
	if options.Log != nil {
		raw.log_level = C.int32_t(options.LogLevel)
		c.log = cgo.NewHandle(options.Log)
	}
	s := newScratch()
	err := s.done(C.go_context_create(&raw, C.uintptr_t(options.CUContext), C.uintptr_t(c.log), &c.p, &s.err))
	if err != nil {
		if c.log != 0 {
			c.log.Delete()
		}
		return nil, err
	}
	context := &Context{handle: handle{p: unsafe.Pointer(c.p)}, core: c}
	info, err := context.Describe()
	if err != nil {
		c.release()
		return nil, err
	}
	c.backend = info.Backend
	runtime.SetFinalizer(context, (*Context).Close)
	return context, nil
}

// Close drops the context; it goes when everything made from it was closed too.
func (c *Context) Close() error {
	return c.closer(c, c.core, func(unsafe.Pointer) {})
}

// Backend is CPU or CUDA.
func (c *Context) Backend() Backend { return c.core.backend }

// ContextInfo says what a context runs on.
type ContextInfo struct {
	Backend                    Backend
	Device                     int // ordinal; -1 on CPU
	DriverVersion              int // CUDA version that the driver supports, for example 13000; 0 on CPU
	ComputeMajor, ComputeMinor int
	Units                      int // streaming multiprocessors, or threads of the CPU backend
	CPUISA                     ISA // the one in use; 0 on CUDA
	MemoryBytes                uint64
	L2Bytes                    uint64 // 0 where not known
	Name                       string // of the device or processor
}

// Describe says what the context runs on. It makes no driver call.
func (c *Context) Describe() (ContextInfo, error) {
	p, err := c.use()
	if err != nil {
		return ContextInfo{}, err
	}
	defer c.lock.RUnlock()
	info := C.hopmla_context_info{struct_size: C.sizeof_hopmla_context_info}
	s := newScratch()
	if err := s.done(C.hopmla_context_describe((*C.hopmla_context)(p), &info, &s.err)); err != nil {
		return ContextInfo{}, err
	}
	return ContextInfo{
		Backend:       Backend(info.backend),
		Device:        int(info.device),
		DriverVersion: int(info.driver_version),
		ComputeMajor:  int(info.compute_major),
		ComputeMinor:  int(info.compute_minor),
		Units:         int(info.units),
		CPUISA:        ISA(info.cpu_isa),
		MemoryBytes:   uint64(info.memory_bytes),
		L2Bytes:       uint64(info.l2_bytes),
		Name:          C.GoString(&info.name[0]),
	}, nil
}
