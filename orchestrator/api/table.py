"""The rows: everything the API can do."""

from orchestrator.api import (
    about_routes,
    change_models,
    change_routes,
    event_routes,
    experiment_models,
    lab_routes,
    live_models,
    live_routes,
    look_routes,
    metrics_routes,
    models,
    run_routes,
    workload_models,
    workload_routes,
)
from orchestrator.api import result_routes as results
from orchestrator.api.event_models import EVENTS
from orchestrator.api.routing import Media, Route
from orchestrator.experiments.compare import Comparison
from orchestrator.experiments.result import Result

BASE = "/api/v1"
HOST = f"{BASE}/labs/{{lab}}/hosts/{{host}}"
WORKLOAD = f"{HOST}/workloads/{{workload}}"
NETWORK = f"{BASE}/labs/{{lab}}/networks/{{network}}"
LINK = f"{HOST}/links/{{network}}"
RUN = f"{BASE}/runs/{{run}}"
PROMETHEUS = Media("text/plain", "Prometheus' text format, version 0.0.4")

CHANGES = (
    Route(
        "PUT",
        f"{BASE}/labs/{{lab}}",
        change_routes.apply_topology,
        {200: change_models.ChangesView, 202: models.LabView},
        problems=(404, 409, 413, 415, 422, 503),
        body=change_models.ApplyRequest,
        query=change_models.ApplyQuery,
    ),
    Route(
        "PUT",
        NETWORK,
        change_routes.put_network,
        {200: models.NetworkView},
        problems=(404, 409, 413, 415, 422, 503),
        body=change_models.NetworkRequest,
    ),
    *(
        Route("POST", f"{path}/{handler.__name__.partition('_')[0]}", handler, {200: view}, (404, 409, 503))
        for path, view, handlers in (
            (NETWORK, models.NetworkView, (change_routes.cut_network, change_routes.heal_network)),
            (LINK, models.InterfaceView, (change_routes.cut_link, change_routes.heal_link)),
            (HOST, models.HostView, (change_routes.stop_host, change_routes.start_host)),
        )
        for handler in handlers
    ),
)

METRICS = (
    *(
        Route("GET", f"{path}/metrics", handler, {200: PROMETHEUS}, problems=(404, 409, 503))
        for path, handler in (
            (f"{BASE}/labs/{{lab}}", metrics_routes.get_lab_metrics),
            (HOST, metrics_routes.get_host_metrics),
        )
    ),
    Route("GET", "/metrics", metrics_routes.get_metrics, {200: PROMETHEUS}),
    Route("GET", "/discovery/prometheus", metrics_routes.prometheus_targets, {200: [models.ScrapeTarget]}),
)

ROUTES = (
    Route("GET", f"{BASE}/health", about_routes.get_health, {200: models.HealthView}),
    Route("GET", f"{BASE}/machines", about_routes.list_machines, {200: models.MachineList}),
    Route("GET", f"{BASE}/systems", about_routes.list_systems, {200: models.SystemList}),
    Route("GET", f"{BASE}/topologies", about_routes.list_topologies, {200: models.TopologyList}),
    Route("GET", f"{BASE}/experiments", about_routes.list_experiments, {200: models.ExperimentList}),
    Route(
        "GET",
        f"{BASE}/experiments/schema",
        about_routes.get_experiment_schema,
        {200: Media("application/schema+json", "JSON Schema of an experiment of one's own")},
    ),
    Route("GET", f"{BASE}/labs", lab_routes.list_labs, {200: models.LabList}),
    Route(
        "POST",
        f"{BASE}/labs",
        lab_routes.create_lab,
        {200: models.LabView, 202: models.LabView},
        problems=(409, 413, 415, 422),
        body=models.LabRequest,
    ),
    Route("GET", f"{BASE}/labs/{{lab}}", lab_routes.get_lab, {200: models.LabView}, problems=(404,)),
    Route(
        "DELETE",
        f"{BASE}/labs/{{lab}}",
        lab_routes.destroy_lab,
        {202: models.LabView, 204: None},
        problems=(404, 409, 503),
    ),
    Route("GET", HOST, lab_routes.get_host, {200: models.HostView}, problems=(404, 409)),
    Route(
        "GET",
        f"{HOST}/counters",
        lab_routes.get_counters,
        {200: models.CountersView},
        problems=(404, 409, 503),
    ),
    Route(
        "POST",
        f"{HOST}/exec",
        lab_routes.exec_in_host,
        {200: models.ExecView},
        problems=(404, 409, 413, 415, 422, 503),
        body=models.ExecRequest,
    ),
    Route(
        "GET",
        f"{HOST}/workloads",
        workload_routes.list_workloads,
        {200: workload_models.WorkloadList},
        problems=(404, 409, 422, 503),
        query=workload_routes.OverQuery,
    ),
    Route(
        "POST",
        f"{HOST}/workloads",
        workload_routes.start_workload,
        {201: workload_models.WorkloadView},
        problems=(404, 409, 413, 415, 422, 502, 503),
        body=workload_models.WorkloadRequest,
    ),
    Route(
        "GET",
        WORKLOAD,
        workload_routes.get_workload,
        {200: workload_models.WorkloadView},
        problems=(404, 409, 422, 503),
        query=workload_routes.OverQuery,
    ),
    Route(
        "PATCH",
        WORKLOAD,
        workload_routes.change_workload,
        {200: workload_models.WorkloadView},
        problems=(404, 409, 413, 415, 422, 503),
        body=workload_models.WorkloadChange,
    ),
    Route(
        "DELETE",
        WORKLOAD,
        workload_routes.stop_workload,
        {200: workload_models.WorkloadView},
        problems=(404, 409, 503),
    ),
    Route(
        "GET",
        f"{WORKLOAD}/picture",
        look_routes.get_picture,
        {200: Media("image/png", "the frame as it is, or made smaller")},
        problems=(404, 409, 422, 502, 503),
        query=look_routes.PictureQuery,
    ),
    Route(
        "GET",
        f"{HOST}/hogs",
        workload_routes.get_hogs,
        {200: workload_models.HogsView},
        problems=(404, 409, 503),
    ),
    Route(
        "PUT",
        f"{HOST}/hogs",
        workload_routes.put_hogs,
        {200: workload_models.HogsView},
        problems=(404, 409, 413, 415, 422, 503),
        body=workload_models.HogsRequest,
    ),
    Route(
        "GET",
        f"{HOST}/interfaces/{{interface}}/capture",
        look_routes.capture_interface,
        {200: Media(look_routes.PCAPNG, "frames as they cross, with the time of each, in blocks of pcapng")},
        problems=(404, 409, 422, 502, 503),
        query=look_routes.CaptureQuery,
    ),
    Route(
        "GET",
        f"{NETWORK}/capture",
        look_routes.capture_network,
        {200: Media(look_routes.PCAPNG, "frames as they cross, with the time of each, in blocks of pcapng")},
        problems=(404, 409, 422, 502, 503),
        query=look_routes.CaptureQuery,
    ),
    Route(
        "GET",
        f"{HOST}/console",
        look_routes.open_console,
        {101: Media("application/octet-stream", "a WebSocket")},
        problems=(400, 404, 409, 422, 503),
        query=look_routes.ConsoleQuery,
    ),
    Route("GET", NETWORK, lab_routes.get_network, {200: models.NetworkView}, problems=(404,)),
    Route(
        "GET",
        f"{NETWORK}/counters",
        lab_routes.get_network_counters,
        {200: models.CountersView},
        problems=(404, 409, 503),
    ),
    Route(
        "GET",
        f"{BASE}/labs/{{lab}}/live",
        live_routes.follow_lab,
        {
            200: Media(
                "text/event-stream",
                "server-sent events; the data of each is JSON",
                live_models.LIVE_EVENTS,
            )
        },
        problems=(404, 409, 422, 503),
        query=live_routes.LiveQuery,
    ),
    *CHANGES,
    Route(
        "GET",
        f"{BASE}/runs",
        run_routes.list_runs,
        {200: models.RunList},
        problems=(422,),
        query=run_routes.ListQuery,
    ),
    Route(
        "POST",
        f"{BASE}/runs",
        run_routes.create_run,
        {200: experiment_models.EstimateView, 202: models.RunView},
        problems=(404, 409, 413, 415, 422, 503, 507),
        body=models.RunRequest,
    ),
    Route("GET", RUN, run_routes.get_run, {200: models.RunView}, problems=(404,)),
    Route("DELETE", RUN, run_routes.cancel_run, {202: models.RunView}, problems=(404, 409)),
    Route("POST", f"{RUN}/pause", run_routes.pause_run, {202: models.RunView}, problems=(404, 409)),
    Route(
        "POST",
        f"{RUN}/resume",
        run_routes.resume_run,
        {202: models.RunView},
        problems=(404, 409, 422, 503, 507),
    ),
    Route(
        "GET",
        f"{RUN}/trials",
        results.get_trials,
        {200: (results.LINES, results.CSV, results.PARQUET)},
        problems=(404, 409, 422),
        query=results.TableQuery,
    ),
    Route(
        "GET",
        f"{RUN}/series",
        results.get_series,
        {200: (results.LINES, results.CSV, results.PARQUET)},
        problems=(404, 409, 422),
        query=results.TableQuery,
    ),
    Route("GET", f"{RUN}/result", results.get_result, {200: Result}, problems=(404, 409)),
    Route(
        "GET",
        f"{RUN}/figure",
        results.get_figure,
        {200: (results.PNG, results.SVG)},
        problems=(404, 409, 422),
        query=results.FigureQuery,
    ),
    Route(
        "GET",
        f"{RUN}/comparison/{{other}}",
        results.compare_runs,
        {200: Comparison},
        problems=(404, 409),
    ),
    Route("GET", f"{RUN}/archive", results.export_run, {200: results.ZIP}, problems=(404, 409, 507)),
    Route(
        "POST",
        f"{BASE}/imports",
        results.import_run,
        {201: models.RunView},
        problems=(409, 413, 415, 422, 507),
        body=results.ZIP,
    ),
    Route(
        "GET",
        f"{BASE}/events",
        event_routes.follow_events,
        {200: Media("text/event-stream", "server-sent events; the data of each is JSON", EVENTS)},
        problems=(404, 422),
        query=event_routes.EventQuery,
        headers={"Last-Event-ID": "resume after this event"},
    ),
    *METRICS,
)
