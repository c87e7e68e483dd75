"""Times the real Helm on the chart directories given: seconds for loading with rendering, and for rendering alone."""
import json, resource, sys, time

import helm_python


def best(run, times):
    out = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        out.append(time.perf_counter() - start)
    return min(out)


before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    chart = helm_python.Chart.load(path)
    render = lambda chart: chart.render({}, name="r", namespace="ns")
    lines = sum(text.count("\n") for text in render(chart).values())
    print(json.dumps({
        "load": best(lambda: render(helm_python.Chart.load(path)), 5),
        "render": best(lambda: render(chart), 7),
        "lines": lines,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
        "output": render(chart),
    }), flush=True)
