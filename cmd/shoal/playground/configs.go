package playground

import (
	"path/filepath"
	"strings"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/cmd/shoal/schedulercmd"
	"github.com/shoal-kv/shoal/kv/config"
)

// configs are what every store and every scheduler starts from: the user's files over the defaults, with the place of the first of
// them.
type configs struct {
	store     *config.Config
	scheduler *schedulercmd.Config
}

// loadConfigs reads the files, so that a mistake in one is told before anything is started. From here on the files' names are
// absolute: the command lines that are written down work from anywhere.
func (o *Options) loadConfigs() (*configs, error) {
	c := &configs{store: config.Default(), scheduler: schedulercmd.DefaultConfig()}
	if err := loadFile("--kv.config", &o.StoreConfig, c.store.Load); err != nil {
		return nil, err
	}
	if err := loadFile("--pd.config", &o.SchedulerConfig, c.scheduler.Load); err != nil {
		return nil, err
	}
	specs := o.plan(".")
	store, scheduler := specs[o.Schedulers], specs[0]

	kv := c.store
	kv.Server.Addr, kv.Server.StatusAddr = store.addr, store.status
	kv.Server.AdvertiseAddr, kv.Server.AdvertiseStatusAddr = "", ""
	kv.Storage.DataDir = store.dir
	kv.PD.Endpoints = strings.Split(addresses(specs), ",")
	kv.Log.File.Filename = ""
	if o.Engine != "" {
		kv.Storage.Engine = o.Engine
	}
	if err := kv.Validate(); err != nil {
		return nil, errors.Annotate(err, "--kv.config")
	}

	pd := c.scheduler
	pd.Name, pd.DataDir = scheduler.name, scheduler.dir
	pd.ClientURLs, pd.PeerURLs = "http://"+scheduler.ports[0], "http://"+scheduler.ports[1]
	pd.AdvertiseClientURLs, pd.AdvertisePeerURLs, pd.InitialCluster, pd.Join = "", "", "", ""
	pd.Log.File.Filename = ""
	return c, errors.Annotate(pd.Validate(), "--pd.config")
}

// loadFile makes the name absolute and reads the file, if one was named.
func loadFile(flag string, name *string, load func(file string) error) (err error) {
	if *name == "" {
		return nil
	}
	if *name, err = filepath.Abs(*name); err != nil {
		return errors.WithStack(err)
	}
	return errors.Annotate(load(*name), flag)
}
