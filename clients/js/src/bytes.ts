/** Text and bytes, as workerd has them. */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Lower-case hexadecimal digits. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of an even number of hexadecimal digits. */
export function fromHex(digits: string): Uint8Array {
  return Uint8Array.from({ length: digits.length / 2 }, (_, index) =>
    Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16),
  );
}

export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text) as Uint8Array<ArrayBuffer>;
}

/**
 * The bytes over which workerd makes the id of a name: UTF-8, but a surrogate without its other half
 * becomes its own three bytes (WTF-8), where UTF-8 has no place for it.
 */
export function wtf8(text: string): Uint8Array {
  if (isWellFormed(text)) return utf8(text);
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) as number;
    if (code >= 0xd800 && code <= 0xdfff) {
      bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    } else {
      bytes.push(...utf8(character));
    }
  }
  return Uint8Array.from(bytes);
}

/** What workerd gives back of a name: each byte that is no UTF-8 has become U+FFFD. */
export function throughUtf8(text: string): string {
  return isWellFormed(text) ? text : decoder.decode(wtf8(text));
}

/** Whether no surrogate is without its other half. `String.prototype.isWellFormed` is ES2024. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** `count` bytes that nobody can guess. */
export function randomBytes(count: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(count));
}

/**
 * A random UUID (RFC 9562, version 4). `crypto.randomUUID` is missing in browsers on pages that did
 * not come over TLS.
 */
export function uuid(): string {
  const bytes = randomBytes(16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const digits = toHex(bytes);
  return [
    digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20),
    digits.slice(20),
  ].join("-");
}
