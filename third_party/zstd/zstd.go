// Package zstd stands in for github.com/DataDog/zstd, which needs cgo, so that whatever imports it builds without a C compiler.
//
// go.mod replaces that module by this one. Below is the pure-Go compressor of klauspost/compress; above are only the
// functions that the two engines call: badger's tables (Compress, Decompress), and, in a build with cgo, pebble's (Ctx,
// CompressBound). The format is the same, so that either side reads what the other wrote; the bytes are not.
package zstd

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The levels that callers name.
const (
	BestSpeed          = 1
	DefaultCompression = 5
	BestCompression    = 20
)

var (
	// ErrEmptySlice is the answer to decompressing nothing, which is no frame.
	ErrEmptySlice = errors.New("zstd: nothing to decompress")
	// ErrTooSmall is the answer of DecompressInto when the data does not fit.
	ErrTooSmall = errors.New("zstd: the destination is too small")
)

// Compress compresses src at the default level, into dst where that is large enough.
func Compress(dst, src []byte) ([]byte, error) {
	return CompressLevel(dst, src, DefaultCompression)
}

// CompressLevel compresses src, into dst where that is large enough.
func CompressLevel(dst, src []byte, level int) ([]byte, error) {
	e, err := encoders[zstd.EncoderLevelFromZstd(level)]()
	if err != nil {
		return nil, err
	}
	return e.EncodeAll(src, dst[:0]), nil
}

// CompressBound is a length that the result of compressing so many bytes never exceeds: every block of 128 KiB may
// stay as it is behind a header of three bytes, and the frame has a header and a checksum.
func CompressBound(size int) int {
	const block, blockHeader, frame = 128 << 10, 3, 64
	return size + (size/block+1)*blockHeader + frame
}

// Decompress returns what src holds, in dst where that is large enough.
func Decompress(dst, src []byte) ([]byte, error) {
	if len(src) == 0 {
		return nil, ErrEmptySlice
	}
	d, err := decoder()
	if err != nil {
		return nil, err
	}
	return d.DecodeAll(src, dst[:0])
}

// DecompressInto fills dst and returns how many bytes it wrote. Data that is longer than dst is ErrTooSmall.
func DecompressInto(dst, src []byte) (int, error) {
	if len(src) == 0 {
		return 0, ErrEmptySlice
	}
	d, err := boundedDecoder()
	if err != nil {
		return 0, err
	}
	out, err := d.DecodeAll(src, dst[:0:len(dst)])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return 0, fmt.Errorf("%w: %w", ErrTooSmall, err)
	}
	if err != nil {
		return 0, err
	}
	return copy(dst, out), nil // onto itself, unless the decoder preferred memory of its own
}

// Ctx is compression with memory that is kept between calls. Here all of them share it.
type Ctx interface {
	Compress(dst, src []byte) ([]byte, error)
	CompressLevel(dst, src []byte, level int) ([]byte, error)
	Decompress(dst, src []byte) ([]byte, error)
	DecompressInto(dst, src []byte) (int, error)
}

// NewCtx returns a Ctx.
func NewCtx() Ctx { return shared{} }

type shared struct{}

func (shared) Compress(dst, src []byte) ([]byte, error)    { return Compress(dst, src) }
func (shared) Decompress(dst, src []byte) ([]byte, error)  { return Decompress(dst, src) }
func (shared) DecompressInto(dst, src []byte) (int, error) { return DecompressInto(dst, src) }
func (shared) CompressLevel(dst, src []byte, level int) ([]byte, error) {
	return CompressLevel(dst, src, level)
}

// Encoders and decoders may be used by many at once, and are made when they are first asked for.
var (
	encoders = map[zstd.EncoderLevel]func() (*zstd.Encoder, error){
		zstd.SpeedFastest:           lazyEncoder(zstd.SpeedFastest),
		zstd.SpeedDefault:           lazyEncoder(zstd.SpeedDefault),
		zstd.SpeedBetterCompression: lazyEncoder(zstd.SpeedBetterCompression),
		zstd.SpeedBestCompression:   lazyEncoder(zstd.SpeedBestCompression),
	}
	decoder        = sync.OnceValues(func() (*zstd.Decoder, error) { return zstd.NewReader(nil) })
	boundedDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true))
	})
)

func lazyEncoder(level zstd.EncoderLevel) func() (*zstd.Encoder, error) {
	return sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithZeroFrames(true))
	})
}
