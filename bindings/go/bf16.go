// SPDX-License-Identifier: Apache-2.0

package hopmla

import "math"

// BF16FromFloat32 is the nearest bfloat16, ties to even, as its bits.
func BF16FromFloat32(value float32) uint16 {
	b := math.Float32bits(value)
	if value != value {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// BF16ToFloat32 is the value of a bfloat16's bits.
func BF16ToFloat32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }
