//! The machine: kubelet, pod network, service proxy, cluster DNS, metrics.
