// SPDX-License-Identifier: Apache-2.0

package layout

import "testing"

func TestLayout(t *testing.T) {
	for _, r := range table {
		if r.offset != r.actualOffset || r.size != r.actualSize {
			t.Errorf("%s.%s: offset %d, size %d, must be %d and %d", r.structure, r.field, r.actualOffset, r.actualSize,
				r.offset, r.size)
		}
	}
}
