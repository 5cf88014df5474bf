package server

import "net/http"

// Serves says whether the HTTP API has a handler for a request.
func (s *Server) Serves(method, path string) bool {
	req, err := http.NewRequest(method, "http://scheduler"+path, nil)
	if err != nil {
		return false
	}
	_, pattern := s.api().(*http.ServeMux).Handler(req)
	return pattern != ""
}
