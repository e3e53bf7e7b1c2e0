/** Processes that must not outlive the test. */

import { spawn } from "node:child_process";
import { once } from "node:events";

const running = new Set();
// If a test file ends without its `after` hooks, as on an error that nobody caught.
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** As `spawn` of node:child_process. */
export function start(command, args, options) {
  const child = spawn(command, args, options);
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** Ends a process with this signal, and waits until it has ended. */
export async function stop(child, signal = "SIGKILL") {
  const ended = child.exitCode !== null || child.signalCode !== null;
  const exit = ended ? undefined : once(child, "exit");
  child.kill(signal);
  await exit;
}
