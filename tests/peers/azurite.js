// Azure Storage on loopback (azurite), with an empty container, for the conformance tests. Prints the
// endpoint, and runs until it is stopped.
"use strict";

const crypto = require("crypto");
const http = require("http");
const path = require("path");

const CONTAINER = "bucket";
// The account of the emulator, whose key is published.
const ACCOUNT = "devstoreaccount1";
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const print = console.log;
console.log = (line) => {
  const found = /listens on (http:\S+)/.exec(String(line));
  if (found) createContainer(found[1]);
};

function createContainer(endpoint) {
  const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2021-12-02" };
  const named = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`).join("");
  const resource = `/${ACCOUNT}/${ACCOUNT}/${CONTAINER}\nrestype:container`;
  const text = "PUT" + "\n".repeat(12) + named + resource;
  const signature = crypto.createHmac("sha256", Buffer.from(KEY, "base64")).update(text, "utf8").digest("base64");
  headers.Authorization = `SharedKey ${ACCOUNT}:${signature}`;
  headers["Content-Length"] = 0;
  const url = `${endpoint}/${ACCOUNT}/${CONTAINER}?restype=container`;
  http
    .request(url, { method: "PUT", headers }, (answer) => {
      answer.resume();
      print(answer.statusCode === 201 ? endpoint : `no container: ${answer.statusCode}`);
    })
    .end();
}

const main = path.join(process.env.SEALWAX_PEERS_DIR, "js/node_modules/azurite/dist/src/blob/main.js");
process.argv = [process.argv[0], main, "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--silent"];
require(main);
