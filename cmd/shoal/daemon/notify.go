package daemon

import (
	"context"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// What systemd is told, over the socket that it names in NOTIFY_SOCKET: that the service serves, that it is stopping, and,
// as often as WATCHDOG_USEC asks for it, that it still gets its work done.
const (
	ready    = systemd.SdNotifyReady
	stopping = systemd.SdNotifyStopping
	alive    = systemd.SdNotifyWatchdog
)

// notify does nothing when systemd did not start the process, or does not want to know.
func (d *Daemon) notify(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		d.Logger.Warn("systemd was not told", zap.String("state", state), zap.Error(err))
	}
}

// feedWatchdog tells systemd twice in each of its intervals that the service lives, until ctx ends. While something in the
// service has been stuck for a whole interval it is silent, and systemd ends the process: another one may recover where this
// one waits for ever, for instance for a disk that does not answer.
func (d *Daemon) feedWatchdog(ctx context.Context, service Service) {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		d.Logger.Warn("the watchdog's interval cannot be read; systemd will end this process", zap.Error(err))
		return
	}
	if interval <= 0 {
		return
	}
	ticker := time.NewTicker(interval / 2)
	defer ticker.Stop()
	for {
		if err := service.Stuck(interval); err != nil {
			d.Logger.Error("the "+d.Name+" is stuck; systemd's watchdog is not fed", zap.Error(err))
		} else {
			d.notify(alive)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
