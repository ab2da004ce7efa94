import { expect, test, vi } from "vitest";
import { Output } from "./output.js";
import { Bar, Lines } from "./progress.js";
import { duration, many, size } from "./words.js";

class Screen {
  text = "";
  readonly isTTY = true;
  readonly columns = 60;

  write(text: string): void {
    this.text += text;
  }
}

test("passwords leave on neither stream, and everything else does", () => {
  const out = new Screen();
  const err = new Screen();
  const output = new Output(out, err);

  output.line("postgres://me:pass/w@rd@host/db postgres://me@host/db?password=pass&x=1");
  output.complain("a\n  b postgres://me:pass@host");

  expect(out.text).toBe("postgres://me:***@host/db postgres://me@host/db?password=***&x=1\n");
  expect(err.text).toBe("sluice: a b postgres://me:***@host\n");
});

test("a table has its numbers to the right", () => {
  const out = new Screen();

  new Output(out, out).table(
    ["type", "jobs", ""],
    [
      ["a.long.type", 1, ""],
      ["b", 20_000, "differs"],
    ],
  );

  expect(out.text).toBe("type           jobs\na.long.type       1\nb            20,000  differs\n");
});

test("what a terminal would act upon is written out, in tables and in JSON", () => {
  const out = new Screen();
  const output = new Output(out, out);
  const text = "a\u001b[2J\u009b1m\u202e\ud800 é😀";

  output.table(["text"], [[text]]);
  output.json({ text });

  expect(out.text.split("\n")[1]).toBe("a\\u001b[2J\\u009b1m\\u202e\\ud800 é😀");
  expect(JSON.parse(out.text.split("\n").slice(2).join("\n"))).toEqual({ text });
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  expect(out.text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
});

test("a bar fits its terminal and is gone at the end", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const screen = new Screen();
  const bar = new Bar((text) => screen.write(text), () => 60); // prettier-ignore

  bar.show({ what: "jobs", done: 10, total: 100, bytes: 0 });
  vi.advanceTimersByTime(50);
  bar.show({ what: "jobs", done: 20, total: 100, bytes: 0 });
  vi.advanceTimersByTime(1_000);
  bar.show({ what: "jobs", done: 50, total: 100, bytes: 2_000_000 });
  bar.end();
  vi.useRealTimers();

  const [, first, second, end] = screen.text.split("\r");
  expect(first).toBe("██░░░░░░░░░░░░░░░░░░░░░░  jobs: 10 of 100\u001b[K");
  expect(second).toBe("████████████░░░░░░░░░░░░  jobs: 50 of 100  blobs: 2.0 MB  3\u001b[K");
  expect(end).toBe("\u001b[K");
});

test("without a terminal there is a line every few seconds", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const screen = new Screen();
  const lines = new Lines((text) => screen.write(text));

  for (let done = 0; done <= 70; done++) {
    lines.show({ what: "audit", done, total: null, bytes: 0 });
    vi.advanceTimersByTime(100);
  }
  vi.useRealTimers();

  expect(screen.text).toBe("audit: 30  10/s\naudit: 60  10/s\n");
});

test("numbers are written as people read them", () => {
  expect([many(1, "job"), many(2_000, "job")]).toEqual(["1 job", "2,000 jobs"]);
  expect([size(0), size(999), size(1_500), size(3e12)]).toEqual(["0 bytes", "999 bytes", "1.5 kB", "3.0 TB"]);
  expect([duration(0.2), duration(100), duration(7_300)]).toEqual(["1 s", "2 min", "2 h 2 min"]);
});
