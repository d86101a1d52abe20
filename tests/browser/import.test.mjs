// What the page that plays a file says before it sends anything.
import assert from "node:assert/strict";
import { test } from "node:test";

const { BYTES_MAX, problemOf } = await import("../../admin/runcast/admin/static/dashboard/import.js");

test("what is too large is not even sent", () => {
  assert.equal(problemOf({ name: "a.jsonl", size: BYTES_MAX }), "");
  assert.match(problemOf({ name: "a.jsonl", size: BYTES_MAX + 1 }), /^a\.jsonl: it is larger than 32 MiB; .* \(request_invalid\)$/);
});
