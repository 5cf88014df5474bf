package zstd

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{0, 1, 100, 4 << 10, 128 << 10, 128<<10 + 1, 1 << 20} {
		random := make([]byte, size)
		for i := range random {
			random[i] = byte(rng.Uint32())
		}
		for name, data := range map[string][]byte{"random": random, "even": bytes.Repeat([]byte("a"), size)} {
			for _, level := range []int{BestSpeed, DefaultCompression, BestCompression} {
				dst := make([]byte, CompressBound(size))
				packed, err := NewCtx().CompressLevel(dst, data, level)
				if err != nil || len(packed) == 0 || &packed[0] != &dst[0] {
					t.Fatalf("%s, %d bytes, level %d: %d bytes in another place, %v", name, size, level, len(packed), err)
				}
				got, err := Decompress(nil, packed)
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%s, %d bytes, level %d: came back as %d bytes, %v", name, size, level, len(got), err)
				}
				into := make([]byte, size)
				if n, err := DecompressInto(into, packed); err != nil || n != size || !bytes.Equal(into, data) {
					t.Fatalf("%s, %d bytes, level %d: %d bytes, %v", name, size, level, n, err)
				}
			}
		}
	}
}

func TestBadInput(t *testing.T) {
	packed, err := Compress(nil, bytes.Repeat([]byte("shoal"), 1000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decompress(nil, nil); !errors.Is(err, ErrEmptySlice) {
		t.Fatal(err)
	}
	if _, err := DecompressInto(make([]byte, 4999), packed); !errors.Is(err, ErrTooSmall) {
		t.Fatal(err)
	}
	for i := range packed {
		if _, err := Decompress(nil, packed[:i]); err == nil {
			t.Fatalf("%d of %d bytes are no frame", i, len(packed))
		}
	}
}
