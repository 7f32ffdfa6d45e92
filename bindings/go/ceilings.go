// SPDX-License-Identifier: Apache-2.0

package hopmla

// #include "shim.h"
// #include <stdlib.h>
import "C"

import (
	"strings"
	"time"
	"unsafe"
)

// Ceilings are measured on a device, and the conditions that they were measured under.
type Ceilings struct {
	ReadBytesPerSecond float64   // reading memory far larger than the cache
	FlopsBurst         float64   // bf16 multiply-add with float32 sums, in the first milliseconds
	FlopsSustained     float64   // the same after about two seconds of it
	Measured           time.Time // when; zero where not known
	SustainedMHz       float64   // clock of the multiprocessors during the sustained part; 0 where not known
	SustainedWatts     float64   // power of the card then; 0 where not known
	Driver             string    // its release; empty where not known
}

func (c *Ceilings) raw() *C.hopmla_ceilings {
	if c == nil {
		return nil
	}
	raw := &C.hopmla_ceilings{
		struct_size:           C.sizeof_hopmla_ceilings,
		read_bytes_per_second: C.double(c.ReadBytesPerSecond),
		flops_burst:           C.double(c.FlopsBurst),
		flops_sustained:       C.double(c.FlopsSustained),
		sustained_mhz:         C.double(c.SustainedMHz),
		sustained_watts:       C.double(c.SustainedWatts),
	}
	if !c.Measured.IsZero() {
		raw.unix_time = C.int64_t(c.Measured.Unix())
	}
	for i := 0; i < len(c.Driver) && i < len(raw.driver)-1; i++ {
		raw.driver[i] = C.char(c.Driver[i])
	}
	return raw
}

// MeasureCeilings measures what decode times are held against. It takes about three seconds and 1 GiB of device memory (64
// MiB on CPU), and is meaningless while other work runs. Synchronises.
func (c *Context) MeasureCeilings() (Ceilings, error) {
	return c.ceilings(func(context *C.hopmla_context, raw *C.hopmla_ceilings, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_measure_ceilings(context, raw, err)
	})
}

// LoadCeilings reads ceilings that were measured here before from a file, or measures them and keeps them there. An empty
// path is the user's cache folder. A file that cannot be written is a log line.
func (c *Context) LoadCeilings(path string) (Ceilings, error) {
	name, free, err := cString("path", path)
	if err != nil {
		return Ceilings{}, err
	}
	defer free()
	return c.ceilings(func(context *C.hopmla_context, raw *C.hopmla_ceilings, err *C.hopmla_error) C.hopmla_status {
		return C.hopmla_load_ceilings(context, name, raw, err)
	})
}

func (c *Context) ceilings(
	call func(*C.hopmla_context, *C.hopmla_ceilings, *C.hopmla_error) C.hopmla_status) (Ceilings, error) {
	p, err := c.use()
	if err != nil {
		return Ceilings{}, err
	}
	defer c.lock.RUnlock()
	raw := C.hopmla_ceilings{struct_size: C.sizeof_hopmla_ceilings}
	s := newScratch()
	if err := s.done(call((*C.hopmla_context)(p), &raw, &s.err)); err != nil {
		return Ceilings{}, err
	}
	ceilings := Ceilings{
		ReadBytesPerSecond: float64(raw.read_bytes_per_second),
		FlopsBurst:         float64(raw.flops_burst),
		FlopsSustained:     float64(raw.flops_sustained),
		SustainedMHz:       float64(raw.sustained_mhz),
		SustainedWatts:     float64(raw.sustained_watts),
		Driver:             C.GoString(&raw.driver[0]),
	}
	if raw.unix_time != 0 {
		ceilings.Measured = time.Unix(int64(raw.unix_time), 0)
	}
	return ceilings, nil
}

// cString is a string in C's memory, and what frees it; none for an empty one.
func cString(name, text string) (*C.char, func(), error) {
	if text == "" {
		return nil, func() {}, nil
	}
	if strings.IndexByte(text, 0) >= 0 {
		return nil, nil, failf(ErrArgument, "%s has a NUL in it", name)
	}
	c := C.CString(text)
	return c, func() { C.free(unsafe.Pointer(c)) }, nil
}
