#!/usr/bin/node
// SPDX-License-Identifier: Apache-2.0
// Node: timers, files, worker threads, crypto, garbage, JSON.
const crypto = require('crypto');
const fs = require('fs');
const {Worker, isMainThread, parentPort, workerData} = require('worker_threads');

if (!isMainThread) {
  let sum = 0;
  for (let i = 0; i < 1e6; i++) sum += i % workerData;
  parentPort.postMessage({n: workerData, sum});
} else {
  const workers = [3, 5, 7].map((n) => new Promise((resolve, reject) => {
    const w = new Worker(__filename, {workerData: n});
    w.on('message', resolve);
    w.on('error', reject);
  }));
  const timer = new Promise((resolve) => {
    let ticks = 0;
    const t = setInterval(() => {
      if (++ticks === 5) {
        clearInterval(t);
        resolve(ticks);
      }
    }, 2);
  });
  const derive = new Promise((resolve, reject) => crypto.scrypt('secret', 'salt', 32, {N: 1024},
      (e, key) => e ? reject(e) : resolve(key.toString('hex').slice(0, 16))));
  (async () => {
    console.log(JSON.stringify(await Promise.all(workers)), await timer, await derive);
    await fs.promises.writeFile('/tmp/script.js.txt', 'a'.repeat(100000));
    const back = await fs.promises.readFile('/tmp/script.js.txt', 'utf8');
    fs.unlinkSync('/tmp/script.js.txt');
    console.log(back.length, crypto.createHash('sha256').update(back).digest('hex').slice(0, 16));
    const junk = [];
    for (let i = 0; i < 200000; i++) junk.push({i, text: 'x' + i});
    console.log(junk.filter((o) => o.i % 1000 === 0).length);
    process.exitCode = 6;
  })();
}
