package snapfile

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

const (
	namePrefix = "snap_"
	nameSuffix = ".snap"
	tmpSuffix  = ".tmp"
)

// fileName is the name of a received snapshot.
func fileName(key Key) string {
	return fmt.Sprintf("%srev_%d_%d_%d%s", namePrefix, key.RegionID, key.Term, key.Index, nameSuffix)
}

// parseName is the inverse of fileName.
func parseName(name string) (key Key, ok bool) {
	stem, ok := strings.CutSuffix(name, nameSuffix)
	parts := strings.Split(stem, "_")
	if !ok || len(parts) != 5 {
		return Key{}, false
	}
	for i, field := range []*uint64{&key.RegionID, &key.Term, &key.Index} {
		n, err := strconv.ParseUint(parts[2+i], 10, 64)
		if err != nil {
			return Key{}, false
		}
		*field = n
	}
	return key, fileName(key) == name
}

func compareItems(a, b Item) int {
	origin := func(i Item) int {
		if i.Received {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(a.Key.RegionID, b.Key.RegionID),
		cmp.Compare(a.Key.Index, b.Key.Index),
		cmp.Compare(a.Key.Term, b.Key.Term),
		cmp.Compare(origin(a), origin(b)),
	)
}
