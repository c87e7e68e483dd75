"""Times the real Helm on a chart directory with a file of values (JSON): loading with rendering, rendering alone, and memory
after so many renderings. A small chart is rendered first. `render.py CHART VALUES ROUNDS SMALL`."""
import json, resource, sys, time

import helm_python


def best(run, times):
    out = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        out.append(time.perf_counter() - start)
    return min(out)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


path, values, rounds = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3])
helm_python.Chart.load(sys.argv[4]).render({}, name="r", namespace="ns")
before = peak()
chart = helm_python.Chart.load(path)
render = lambda chart: chart.render(values, name="r", namespace="ns")
timed = best(lambda: render(chart), rounds)
memory = peak() - before
output = render(chart)
print(json.dumps({
    "load": best(lambda: render(helm_python.Chart.load(path)), 5),
    "render": timed,
    "lines": sum(text.count("\n") for text in output.values()),
    "memory": memory,
    "output": output,
}), flush=True)
