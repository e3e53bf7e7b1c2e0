/** Reading streams within a bound. */

/** What was read. */
export interface Read {
  /** All of it, unless there is a rest. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What comes after `bytes`, if there was more than the bound. */
  readonly rest: ReadableStreamDefaultReader<Uint8Array> | undefined;
}

/**
 * Reads a stream to its end, or until it has given more than `bytesMax`. Rejects if it fails, and with
 * the signal's reason if that is aborted.
 */
export async function readBounded(
  stream: ReadableStream<Uint8Array>,
  bytesMax: number,
  signal?: AbortSignal,
): Promise<Read> {
  const reader = stream.getReader();
  // Ends a read that waits. That the source cannot be cancelled is of no interest any more.
  signal?.addEventListener("abort", () => void reader.cancel(signal.reason).catch(() => {}));
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (size <= bytesMax) {
    const { done, value } = await reader.read();
    signal?.throwIfAborted();
    if (done) return { bytes: join(chunks, size), rest: undefined };
    chunks.push(value);
    size += value.byteLength;
  }
  return { bytes: join(chunks, size), rest: reader };
}

/** A stream of `bytes` and then of the rest. */
export function resume({ bytes, rest }: Read): ReadableStream<Uint8Array> {
  let first: Uint8Array | undefined = bytes.byteLength === 0 ? undefined : bytes;
  return new ReadableStream({
    async pull(controller) {
      if (first !== undefined) {
        controller.enqueue(first);
        first = undefined;
        return;
      }
      const { done, value } = (await rest?.read()) ?? { done: true, value: undefined };
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel(reason) {
      await rest?.cancel(reason);
    },
  });
}

function join(chunks: Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}
