/** Server-sent events (WHATWG HTML, section 9.2), read from a response: `EventSource` could not send a token. */

/** Gives each event of a body as `{ type, data }`, until the body ends; comments are left out. */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let type = "message";
  let data = [];
  for (;;) {
    const { done, value } = await reader.read();
    // An event that was cut off is none.
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line !== "") {
        const [, name, text] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (name === "event") type = text;
        else if (name === "data") data.push(text);
        continue;
      }
      if (data.length > 0) yield { type, data: data.join("\n") };
      type = "message";
      data = [];
    }
  }
}
