/** How a process ends: the first SIGTERM or SIGINT in good order and with exit code 0, the second at once. */

/** @param stop Must lose nothing, however long it takes; who is in a hurry sends a second signal. */
export function stopOnSignals(stop: (signal: string) => Promise<void>): void {
  let isStopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(signal === "SIGINT" ? 130 : 143);
    isStopping = true;
    stop(signal).then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
}
