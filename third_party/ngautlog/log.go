// Package log stands in for github.com/ngaut/log, to which badger writes its messages.
//
// go.mod replaces that module by this one, because every opening of a badger sets that one's global level while the
// goroutines of the badgers that are open read it: a data race that hides others. Here the level is fixed: warnings and
// errors go to standard error, a line each, and the rest goes nowhere.
package log

import (
	"fmt"
	"os"
	"strings"
)

// SetLevelByString is there to be called; the level is fixed.
func SetLevelByString(string) {}

// Debugf is not shown.
func Debugf(string, ...any) {}

// Info is not shown.
func Info(...any) {}

// Infof is not shown.
func Infof(string, ...any) {}

// Warnf writes a line.
func Warnf(format string, args ...any) { write("warning", fmt.Sprintf(format, args...)) }

// Error writes a line.
func Error(args ...any) { write("error", fmt.Sprint(args...)) }

// Errorf writes a line.
func Errorf(format string, args ...any) { write("error", fmt.Sprintf(format, args...)) }

// Fatal writes a line and ends the process.
func Fatal(args ...any) {
	write("fatal", fmt.Sprint(args...))
	os.Exit(1)
}

// Fatalf writes a line and ends the process.
func Fatalf(format string, args ...any) {
	write("fatal", fmt.Sprintf(format, args...))
	os.Exit(1)
}

func write(level, text string) {
	fmt.Fprintf(os.Stderr, "badger %s: %s\n", level, strings.TrimSpace(text))
}
