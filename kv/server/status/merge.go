package status

import (
	"fmt"
	"net/http"
	"strconv"
)

// mergeRegion begins a merge: POST /region/{id}/merge?target=ID. 200 says that the region is prepared for it; whether it happens shows in the regions.
func mergeRegion(w http.ResponseWriter, r *http.Request, merge func(source, target uint64) error) {
	source, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("%q is not a region id", r.PathValue("id")), http.StatusBadRequest)
		return
	}
	target, err := strconv.ParseUint(r.URL.Query().Get("target"), 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("?target=%s is not a region id", r.URL.Query().Get("target")), http.StatusBadRequest)
		return
	}
	if err := merge(source, target); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}
