// Package util has no manners. // want nothing here
package util // want "package util"

import (
	"log"
	"log/slog"
)

var stdlog = log.Default() // want "package-level logger stdlog"

var named *slog.Logger // want "package-level logger named"

var n = 1

func init() { // want "func init"
	n++
}

type t struct{}

func (t) init() {}

func speak() {
	slog.Info("x") // want "slog.Info is a global logger"
	named.Info("x")
	t{}.init()
	stdlog.Print(n)
}
