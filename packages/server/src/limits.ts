/** What a client can make this service hold or do, at most. */
export interface Limits {
  /** Of a body of one job, or a command. Default 1 MiB and a little: a payload is at most 1 MiB. */
  readonly bodyBytes: number;
  /** Of a batch as a JSON array. Default 8 MiB; one in lines may have any length. */
  readonly batchBytes: number;
  /** In which a JSON body must have come whole, ms; one in lines may take as long as it moves. Default 60,000. */
  readonly bodyMs: number;
  /** Requests being answered at once, streams apart. Default 2,000. */
  readonly requests: number;
  /** Callers who wait for the end of a job (`Prefer: wait`). More are answered at once. Default 1,000. */
  readonly waits: number;
  /** Streams in all, and of each caller. Default 1,000 and 50. */
  readonly streams: number;
  readonly streamsPerCaller: number;
  /** How late the event loop may be before new work is refused, ms. Default 2,000. */
  readonly loopDelayMs: number;
}

export const defaultLimits: Limits = {
  bodyBytes: 1_048_576 + 65_536,
  batchBytes: 8 * 1_048_576,
  bodyMs: 60_000,
  requests: 2_000,
  waits: 1_000,
  streams: 1_000,
  streamsPerCaller: 50,
  loopDelayMs: 2_000,
};
