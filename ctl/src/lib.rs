//! shoalctl
