package server

import (
	"encoding/hex"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/meta"
)

// longestBody bounds what a request may bring.
const longestBody = 4 << 20

// reply is an answer that writes itself.
type reply interface{ write(w http.ResponseWriter) }

// apiError is an error under the status code that tools act on.
type apiError struct {
	code int
	text string
}

func (e *apiError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &apiError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &apiError{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// refused gives an error that says what is wrong with a request its code; one over which the leadership was lost keeps its own.
func refused(code int, err error) error {
	var known *apiError
	if err == nil || stderrors.As(err, &known) || endsTerm(err) {
		return err
	}
	return &apiError{code, err.Error()}
}

// writeError answers in the family's form: a JSON string under its status code.
func writeError(w http.ResponseWriter, err error) {
	var known *apiError
	switch {
	case stderrors.As(err, &known):
		writeJSON(w, known.code, known.text)
	case endsTerm(err):
		writeJSON(w, http.StatusServiceUnavailable, err.Error())
	default:
		writeJSON(w, http.StatusInternalServerError, err.Error())
	}
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // a client that went away is nobody's concern
}

// compact is a reply without indentation.
type compact struct{ v any }

func (c compact) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(c.v)
}

// readJSON decodes a request's body.
func readJSON(r *http.Request, v any) error {
	err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, longestBody)).Decode(v)
	var large *http.MaxBytesError
	if stderrors.As(err, &large) {
		return &apiError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body must not be larger than %d bytes", large.Limit)}
	}
	if err != nil {
		return badRequest("the body is not the JSON that this request takes: %v", err)
	}
	return nil
}

// pathID reads {id}.
func pathID(r *http.Request) (uint64, error) { return pathNumber(r, "id") }

func pathNumber(r *http.Request, name string) (uint64, error) {
	id, err := strconv.ParseUint(r.PathValue(name), 10, 64)
	if err != nil {
		return 0, badRequest("%s %q must be a number", name, r.PathValue(name))
	}
	return id, nil
}

// queryNumber reads a number of the query that may be missing.
func queryNumber(r *http.Request, name string, absent int) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, badRequest("%s %q must be a number", name, s)
	}
	return n, nil
}

func hexKey(key []byte) string { return strings.ToUpper(hex.EncodeToString(key)) }

// fromHex reads a key; empty means the beginning or the end of all keys.
func fromHex(name, digits string) ([]byte, error) {
	if digits == "" {
		return nil, nil
	}
	key, err := hex.DecodeString(digits)
	if err != nil {
		return nil, badRequest("%s %q must be hexadecimal digits: %v", name, digits, err)
	}
	return key, nil
}

// change asks for something that lasts, and is done when it is durable. What is refused gets the status code.
func (t *term) change(code int, q question) error {
	return refused(code, t.desk.change(func(at machine.Moment) (*machine.Save, error) {
		save, err := q(at)
		if save != nil && len(save.Ops) > meta.MaxWrite {
			return nil, badRequest("%d changes in one request; at most %d", len(save.Ops), meta.MaxWrite)
		}
		return save, err
	}))
}

// byHand asks for something to be done to regions.
func (t *term) byHand(q func(machine.Moment) error) error {
	_, err := t.desk.ask(func(at machine.Moment) (*machine.Save, error) { return nil, q(at) })
	return refused(http.StatusInternalServerError, err)
}
