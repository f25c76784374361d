import assert from "node:assert/strict";
import { test } from "node:test";
import { settingsFrom } from "../src/settings.js";
import { newClient, TOKEN } from "./client.js";

test("without a token or with a wrong one", async (context) => {
  const call = newClient(context);
  for (const authorization of [
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN.slice(1)}`,
    `Bearer ${TOKEN.toUpperCase()}`,
    `Bearer  ${TOKEN}`,
    `Basic ${TOKEN}`,
    TOKEN,
  ]) {
    const response = await call("GET", "/items", undefined, authorization);
    assert.equal(response.statusCode, 401, authorization);
    assert.equal(response.headers["www-authenticate"], "Bearer");
    assert.ok(!response.body.includes(TOKEN));
  }
});

test("with the right token", async (context) => {
  const call = newClient(context);
  assert.equal((await call("GET", "/items")).statusCode, 200);
  assert.equal((await call("GET", "/items", undefined, `bearer ${TOKEN}`)).statusCode, 200);
});

test("every route of items is guarded", async (context) => {
  const call = newClient(context);
  for (const [method, path] of [
    ["GET", "/items"],
    ["POST", "/items"],
    ["GET", "/items/1"],
    ["DELETE", "/items/1"],
  ] as const) {
    assert.equal((await call(method, path, undefined, "")).statusCode, 401, `${method} ${path}`);
  }
});

test("a refused call changes nothing", async (context) => {
  const call = newClient(context);
  assert.equal((await call("POST", "/items", { name: "x" }, "Bearer wrong")).statusCode, 401);
  assert.deepEqual((await call("GET", "/items")).json(), []);
});

test("a token is required and never shown", () => {
  assert.throws(() => settingsFrom({}), { message: "SERVICE_API_TOKEN is not set" });
  assert.throws(() => settingsFrom({ SERVICE_API_TOKEN: "too-short" }), {
    message: "SERVICE_API_TOKEN must have at least 16 characters",
  });
});
