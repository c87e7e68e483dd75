//! Deployment to Pod: the Kubernetes controllers and the scheduler.
