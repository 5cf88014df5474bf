package integration

// Reasons that several names share.
const (
	clients     = "counted by clients, which show it themselves"
	alertWords  = "no metric: a word in the text of an alert"
	coprocessor = "there is no coprocessor"
	oldVersions = "versions of transactions are not collected by stores"
	recovery    = "there is one replication mode, in which all replicas count alike"
	buckets     = "regions are not divided into buckets"
	runners     = "heartbeats are taken in one after the other, by no runner with a queue"
	elsewhere   = "the name of a store's metric without its prefix: see tikv_pd_heartbeat_message_total"
	ownEtcd     = "the scheduler calls the etcd in its own process; see etcd_disk_… and pd_txn_handle_txns_duration_seconds"
)

// noCounterpart are the names for which there is nothing to show, and why.
var noCounterpart = map[string]string{
	"etcd_network_peer_latency": alertWords, "etcd_write_disk_latency": alertWords, "pd_etcd_quota": alertWords,
	"process_ready_duration_secs": alertWords, "process_tick_duration_secs": alertWords,

	"pd_client_request_handle_query_region_batch_size_bucket": clients, "pd_client_request_handle_query_region_batch_size_count": clients,
	"pd_client_request_handle_query_region_batch_size_sum": clients, "pd_client_request_handle_requests_duration_seconds_bucket": clients,
	"pd_client_request_handle_requests_duration_seconds_count": clients, "pd_client_request_handle_requests_duration_seconds_sum": clients,
	"pd_client_request_handle_tso_batch_size_bucket": clients, "pd_client_request_handle_tso_batch_size_count": clients,
	"pd_client_request_handle_tso_batch_size_sum": clients,

	"pd_core_region_heartbeat_breakdown_handle_duration_seconds_sum": "a heartbeat is one piece: see pd_scheduler_handle_region_heartbeat_duration_seconds",
	"pd_heartbeat_message_total":                                     elsewhere, "pd_pending_heartbeat_total": elsewhere,
	"pd_ratelimit_runner_failed_tasks_total": runners, "pd_ratelimit_runner_pending_tasks": runners,
	"pd_ratelimit_runner_task_max_waiting_duration_seconds": runners,
	"pd_region_label_status":                                "regions have no labels",
	"pd_region_syncer_status":                               "followers read regions from etcd when they come to lead, and are not kept up to date before",
	"pd_replication_dr_recover_progress":                    recovery, "pd_replication_dr_recovered_region": recovery, "pd_replication_dr_state": recovery,
	"pd_replication_dr_state_id": recovery, "pd_replication_dr_tick_total": recovery,
	"pd_server_api_concurrency": "requests are not limited by number",
	"pd_server_bucket_report":   buckets, "pd_server_bucket_report_interval_seconds_bucket": buckets,
	"pd_server_etcd_client": ownEtcd, "pd_server_etcd_endpoint_latency_seconds_bucket": ownEtcd,

	"tikv_coprocessor_pending_request": coprocessor, "tikv_coprocessor_request_error": coprocessor,
	"tikv_coprocessor_request_wait_seconds_bucket": coprocessor,
	"tikv_gc_compaction_filter_perform":            oldVersions, "tikv_gcworker_gc_tasks_vec": oldVersions,
	"tikv_pd_validate_peer_total":   "a peer that misses its leader asks the other peers, not the scheduler",
	"tikv_thread_cpu_seconds_total": "goroutines share threads: see process_cpu_seconds_total, and /debug/pprof/profile for who used it",
}

// notAlone are shown by schedulers that have others to talk with, which the test's has not.
var notAlone = map[string]string{
	"etcd_network_peer_round_trip_time_seconds_bucket": "Round-Trip-Time histogram between peers.",
}
