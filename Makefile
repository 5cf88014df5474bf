# Shoal needs Go and make, nothing else. `make run` starts a cluster, `make test` checks the tree.
#
#   build run test lint bench format    what one does all day
#   docs                                the reference pages in docs/, out of the code
#   many-regions                        64 MB through client-go into regions of 1 MiB, and every store killed in turn
#   failovers                           fifty scheduler leaders killed under load
#   placement[-failovers|-zones]        2 GiB on stores that join, are drained and die, and nobody notices
#   sim sim-long                        lives of whole clusters in virtual time: 200 seeds; as many as fit in an hour
#   sim-stages                          the staged suites' scenarios in virtual time, 200 seeds each
#   sim-bugs sim-corpus sim-agree       deliberate bugs; the corpus' hashes anew; 100 seeds in three processes
#   project1 … project4c                the staged suites, one stage a target
#   RACE=1 make test                    the same under the race detector (needs a C compiler)

SHELL := /bin/bash
.DEFAULT_GOAL := build

MODULE  := github.com/shoal-kv/shoal
VERSION := $(MODULE)/cmd/shoal/version
TOOLS   := $(CURDIR)/bin/tools

# The race detector is the only thing here that needs cgo; without it everything is pure Go and static.
ifeq ($(RACE),1)
export CGO_ENABLED := 1
RACEFLAG := -race
else
export CGO_ENABLED := 0
RACEFLAG :=
endif

git = $(shell git -C $(CURDIR) $(1) 2>/dev/null || echo unknown)

LDFLAGS = \
	-X $(VERSION).gitHash=$(call git,rev-parse --verify -q HEAD) \
	-X $(VERSION).gitBranch=$(call git,symbolic-ref --short -q HEAD) \
	-X '$(VERSION).buildTime=$(shell date -u '+%Y-%m-%d %H:%M:%S')'

# Two packages at a time keep the cluster tests, which live on elections of a few hundred milliseconds, off each other's
# cores; the timeout is a package's.
TEST  = go test $(RACEFLAG) -p 2 -timeout 20m
STAGE = go test $(RACEFLAG) -count=1 -timeout 25m

.PHONY: snapshot-rate build kv scheduler run test ci dev lint format tools docs bench failovers many-regions proto clean

build:
	go build -buildvcs=false -trimpath -ldflags "$(LDFLAGS)" -o bin/shoal ./cmd/shoal

# Store and scheduler are commands of the one binary.
kv scheduler: build

run: build
	bin/shoal playground

test:
	go vet ./...
	$(TEST) -vet=off ./...
	cd examples && $(TEST) ./...

dev: format lint test

ci:
	.ci/run

# Fifty leaders of a scheduler group fall, one after the other; takes some ten minutes.
failovers:
	SHOAL_FAILOVERS=50 go test -count=1 -timeout 60m -v ./test/failover

# --- figures of many regions, on three stores of this machine: what each says is at the end of its output --------------

.PHONY: idle-cost bench-regions failover-time split-stall

FIGURES = go test -count=1 -timeout 60m -v ./test/robustness -run

# CPU and memory of 2,000 regions without work, over a minute.
idle-cost:
	SHOAL_IDLE_REGIONS=2000 SHOAL_IDLE_SECONDS=60 $(FIGURES) '^TestIdleCost$$'

# Writes spread over 48 regions beside writes to one.
bench-regions:
	SHOAL_BENCH_REGIONS=48 SHOAL_BENCH_SECONDS=10 SHOAL_BENCH_ROUNDS=3 $(FIGURES) '^TestManyRegionsThroughput$$'

# From a SIGKILL of the leader's store to the first write, fifty times with one region and with a hundred.
failover-time:
	SHOAL_FAILOVER_KILLS=50 SHOAL_FAILOVER_REGIONS=100 $(FIGURES) '^TestFailoverTime$$'

# How long writers wait for a region that splits, twenty times.
split-stall:
	SHOAL_SPLIT_REGIONS=21 $(FIGURES) '^TestSplitStall$$'

# The raft log: bytes, CPU and sync latency of an entry while old log is deleted, beside a prototype of another log; two to three minutes. LOGBENCH
# takes flags: LOGBENCH="-rounds 3 -o json". docs/logstore.md tells what the figures mean.
.PHONY: bench-logstore
bench-logstore:
	@go run ./test/logbench $(LOGBENCH)

# 64 MB into at least 40 regions, by 32 clients; every store is killed in turn under load.
many-regions:
	SHOAL_MEGABYTES=64 go test -count=1 -timeout 20m -v -run '^TestManyRegions$$' ./test/robustness

# A store stands still for ten minutes under 64 clients: regions and logs stay within their limits, and it heals with a snapshot a region at most.
.PHONY: paused-store
paused-store:
	SHOAL_PAUSE=10m go test -count=1 -timeout 30m -v -run '^TestPausedStore$$' ./test/robustness

# --- placement, with real processes under load: how long each step took is at the end of the output; about 15 GB of disk ----

.PHONY: placement placement-failovers placement-zones

PLACEMENT = SHOAL_PLACEMENT_KIB=24576 go test -count=1 -timeout 60m -v ./test/robustness -run

# 2 GiB on three stores; two more join, one is deleted and drained, one dies for good.
placement:
	SHOAL_PLACEMENT_MIB=2048 $(PLACEMENT) '^TestPlacement$$'

# The same under three schedulers, whose leader is killed every 20 seconds, for ten minutes at least, while stores are lost and come back.
placement-failovers:
	SHOAL_PLACEMENT_MIB=2048 SHOAL_PLACEMENT_EVERY=20 SHOAL_PLACEMENT_KILLS=30 $(PLACEMENT) '^TestPlacementThroughFailovers$$'

# Six stores in three zones; a zone is killed.
placement-zones:
	SHOAL_PLACEMENT_MIB=512 SHOAL_PLACEMENT_KIB=6144 go test -count=1 -timeout 20m -v ./test/robustness -run '^TestPlacementByZones$$'

# --- the simulator ----------------------------------------------------------------------------------------------------

.PHONY: sim sim-long sim-stages sim-bugs sim-corpus sim-agree

sim: build
	bin/shoal sim --seeds 1..200

# SECONDS_LONG is how long it may take; the seeds begin where `make sim` ends.
SECONDS_LONG ?= 3600
sim-long: build
	bin/shoal sim --seeds 1001..1000000 --for $(SECONDS_LONG)s

# The staged suites' scenarios in virtual time, each with this many seeds.
SEEDS_STAGES ?= 200
sim-stages:
	SHOAL_SIM_SEEDS=$(SEEDS_STAGES) go test -count=1 -timeout 240m -v -run '^TestVirtualStages' ./kv/sim

sim-bugs:
	SHOAL_BUGS=all go test -count=1 -timeout 120m -v -run '^TestSensitivity$$' ./kv/sim

sim-corpus:
	go test -count=1 -run '^TestCorpus$$' ./kv/sim -rewrite

sim-agree:
	SHOAL_SIM_SEEDS=100 go test -count=1 -timeout 30m -v -run '^TestProcessesAgree$$' ./kv/sim

# Of a fresh cluster: raw puts and gets, or for instance BENCH="ycsb a --rate 2000".
bench: build
	BENCH="$(BENCH)" tools/bench.sh

# A test fails while these pages are not what this would write.
snapshot-rate: # how fast a region's data moves from disk to disk; SHOAL_RATE_MIB says how much
	go test ./kv/node -run '^$$' -bench SnapshotRate -benchtime 3x

docs:
	go test -count=1 ./cmd/shoal -run 'TestReferenceIsCurrent$$' -rewrite
	go test -count=1 ./test/integration -run 'TestEveryMetricOfTheBoards$$' -rewrite

proto:
	go generate ./proto/...
	go build ./proto/...

clean:
	rm -rf bin

# --- tools: a module of their own, so that what they need never meets what Shoal needs -------------------------------

tools: $(TOOLS)/installed

$(TOOLS)/installed: tools/go.mod tools/go.sum
	cd tools && CGO_ENABLED=0 GOBIN=$(TOOLS) go install -buildvcs=false tool
	touch $@

lint: tools
	GOLANGCI_LINT_CACHE=$(TOOLS)/cache $(TOOLS)/golangci-lint run --allow-parallel-runners ./...

format: tools
	find . -name '*.go' -not -path './bin/*' -not -path '*/testdata/*' -print0 | xargs -0 $(TOOLS)/gofumpt -w

# --- the staged suites: a stage is the end of its tests' names --------------------------------------------------------

.PHONY: project1 project2 project2a project2aa project2ab project2ac project2b project2c project3a project3b project3c

project1:
	$(STAGE) ./kv/server -run '1$$'

project2: project2a project2b project2c

project2a:
	$(STAGE) ./raft -run '2A[ABC]$$'

project2aa project2ab project2ac: project2%:
	$(STAGE) ./raft -run '2$(shell echo $* | tr a-z A-Z)$$'

project2b:
	$(STAGE) ./kv/test_raftstore ./kv/sim -run '2B$$'

project2c:
	$(STAGE) ./raft ./kv/test_raftstore ./kv/sim -run '2C$$'

# So far the consensus core's part of this one.
project3a:
	$(STAGE) ./raft -run '3A$$'

project3b:
	$(STAGE) ./kv/test_raftstore ./kv/sim -run '3B$$'

project3c:
	$(STAGE) ./scheduler/cluster ./scheduler/schedule -run '3C$$'
