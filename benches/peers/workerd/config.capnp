# workerd as one runs it by oneself: a front worker and its Durable Objects in one process, the
# objects on disk. scripts/bench/peers.py names the address and the folder.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "limiter", worker = .limiter),
    (name = "objects", disk = (path = "objects", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:7231", http = (), service = "limiter")],
);

const limiter :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-11-01",
  durableObjectNamespaces = [
    (className = "RateLimiter", uniqueKey = "wix-gamma-integration-RateLimiter"),
  ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [(name = "RATE_LIMITER", durableObjectNamespace = "RateLimiter")],
);
