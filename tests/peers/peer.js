/* Serves the official Node SDK over JSON lines, for the interoperability tests.
 *
 * Reads one JSON object per line from stdin and answers each with one JSON
 * object on stdout, in order, until stdin ends. Binary values are base64.
 *
 *   {"op":"hello"}
 *     -> {"ok":true,"name":"node","version":..,"suites":["0x0014",..],
 *         "frame_multiple":1}
 *   {"op":"encrypt","keys":[{"namespace":..,"name":..,"key":..},..],
 *    "suite":"0x0478","frame_length":4096,"context":{..},"plaintext":..,
 *    "utf8_sorting":true}
 *     -> {"ok":true,"message":..}
 *   {"op":"decrypt","keys":[..],"message":..,"context":{..},
 *    "utf8_sorting":true}
 *     -> {"ok":true,"plaintext":..,"context":{..},"suite":"0x0478"}
 *   anything that fails
 *     -> {"ok":false,"error":"ClassName: text"}
 *
 * An RSA key has "padding":"pkcs1"|"oaep-sha1"|"oaep-sha256"|"oaep-sha384"|
 * "oaep-sha512" and, as PEM text, "public" and "private" instead of "key".
 *
 * "suite" defaults to 0x0578, "frame_length" to 4096, "context" to none. The
 * first key generates the data key, the others wrap it. There is one kind of
 * keyring here, so "keyring" is ignored. "context" on decrypt means the
 * expected pairs; the SDK leaves that comparison to its caller, so this server
 * makes it. The "context" of an answer is what the message's header stores,
 * aws-crypto-public-key included.
 *
 * What this SDK does, as measured:
 *
 * - Any frame length from 1 to 2^32-1 is taken; 0 is refused. It reads
 *   non-framed messages but cannot write them.
 * - A plaintext that is an exact multiple of the frame length is written as
 *   full regular frames and then an additional, empty final frame. An empty
 *   plaintext is a single empty final frame.
 * - The context in the header is always sorted by the UTF-8 bytes of its keys.
 *   The copy that the raw AES keyring authenticates is sorted by locale unless
 *   the keyring is told otherwise, and no other SDK agrees with that as soon as
 *   the two orders differ ("a" and "B" suffice). This server therefore asks for
 *   UTF-8 order; "utf8_sorting":false in a request brings back the default.
 * - Its signatures are 70 to 72 bytes long (0x0214) or 102 to 104 (the others).
 * - What follows the end of an unsigned message is ignored; after a signed one
 *   it makes the signature invalid.
 * - A lone surrogate in the context silently becomes U+FFFD.
 * - It writes PKCS#1 v1.5, but Node itself does not decrypt that any more (since
 *   18.19.1 and 20.11.1, CVE-2023-46809) unless its OpenSSL has implicit
 *   rejection. The SDK then says "unencryptedDataKey has not been set".
 *
 * The SDK is taken from $SEALWAX_PEERS_DIR/js, or target/peers/js.
 */
'use strict'

const path = require('path')
const { constants } = require('crypto')
const { createRequire } = require('module')

// Nothing but answers may reach stdout.
console.log = console.info = console.debug = console.error

const peersDir =
  process.env.SEALWAX_PEERS_DIR || path.join(__dirname, '..', '..', 'target', 'peers')
const requireSdk = createRequire(path.resolve(peersDir, 'js', 'package.json'))
const sdk = requireSdk('@aws-crypto/client-node')
const { version } = requireSdk('@aws-crypto/client-node/package.json')

class BadRequest extends Error {}
class ContextMismatch extends Error {}

const nonCommitting = sdk.buildClient(sdk.CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
const committing = sdk.buildClient(sdk.CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)

const SUITES = [
  0x0014, 0x0046, 0x0078, 0x0114, 0x0146, 0x0178, 0x0214, 0x0346, 0x0378, 0x0478, 0x0578,
]
const WRAPPING_SUITES = {
  16: sdk.RawAesWrappingSuiteIdentifier.AES128_GCM_IV12_TAG16_NO_PADDING,
  24: sdk.RawAesWrappingSuiteIdentifier.AES192_GCM_IV12_TAG16_NO_PADDING,
  32: sdk.RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
}

const suiteName = (id) => '0x' + id.toString(16).padStart(4, '0')
const describe = (error) =>
  error instanceof Error
    ? `${error instanceof AggregateError ? 'AggregateError' : error.constructor.name}: ${error.message}`
    : `Error: ${error}`

function unbase64(text) {
  if (typeof text !== 'string') throw new BadRequest('a binary value is missing')
  // Buffer skips whatever is not base64.
  const data = Buffer.from(text, 'base64')
  if (text.length !== 4 * Math.ceil(data.length / 3)) throw new BadRequest('bad base64')
  return data
}

function makeRsaKeyring(keyNamespace, keyName, padding, { public: publicKey, private: privateKey }) {
  const rsaKey = { publicKey, privateKey }
  const { RSA_PKCS1_PADDING, RSA_PKCS1_OAEP_PADDING } = constants
  if (padding === 'pkcs1') {
    return new sdk.RawRsaKeyringNode({ keyNamespace, keyName, rsaKey, padding: RSA_PKCS1_PADDING })
  }
  const oaepHash = padding.replace(/^oaep-/, '')
  return new sdk.RawRsaKeyringNode({
    keyNamespace,
    keyName,
    rsaKey,
    padding: RSA_PKCS1_OAEP_PADDING,
    oaepHash,
  })
}

function makeKeyring(request) {
  if (!Array.isArray(request.keys) || request.keys.length === 0) throw new BadRequest('no keys')
  const keyrings = request.keys.map(({ namespace, name, key, padding, ...pem }) => {
    if (padding !== undefined) return makeRsaKeyring(namespace, name, padding, pem)
    const bytes = unbase64(key)
    const wrappingSuite = WRAPPING_SUITES[bytes.length]
    if (wrappingSuite === undefined) throw new BadRequest(`a key of ${bytes.length} bytes`)
    // The keyring insists on a buffer that is not part of a larger one.
    const unencryptedMasterKey = new Uint8Array(bytes.length)
    unencryptedMasterKey.set(bytes)
    return new sdk.RawAesKeyringNode({
      keyNamespace: namespace,
      keyName: name,
      unencryptedMasterKey,
      wrappingSuite,
      utf8Sorting: request.utf8_sorting !== false,
    })
  })
  if (keyrings.length === 1) return keyrings[0]
  return new sdk.MultiKeyringNode({ generator: keyrings[0], children: keyrings.slice(1) })
}

async function encrypt(request) {
  const suiteId = parseInt(request.suite || '0x0578', 16)
  if (!SUITES.includes(suiteId)) throw new BadRequest(`suite ${request.suite}`)
  const client = suiteId >= 0x0400 ? committing : nonCommitting
  const { result } = await client.encrypt(makeKeyring(request), unbase64(request.plaintext), {
    suiteId,
    encryptionContext: request.context || {},
    frameLength: request.frame_length ?? 4096,
  })
  return { ok: true, message: result.toString('base64') }
}

async function decrypt(request) {
  const { plaintext, messageHeader } = await committing.decrypt(
    makeKeyring(request),
    unbase64(request.message)
  )
  const context = { ...messageHeader.encryptionContext }
  for (const [name, value] of Object.entries(request.context || {})) {
    if (context[name] !== value) {
      throw new ContextMismatch(`the message's context has not the expected ${JSON.stringify(name)}`)
    }
  }
  return {
    ok: true,
    plaintext: plaintext.toString('base64'),
    context,
    suite: suiteName(messageHeader.suiteId),
  }
}

/* Whether a small message of this suite makes the round trip. */
async function works(suite) {
  const keys = [
    { namespace: 'probe', name: 'probe', key: Buffer.alloc(32).toString('base64') },
  ]
  const plaintext = Buffer.from('probe').toString('base64')
  try {
    const { message } = await encrypt({ keys, suite, plaintext })
    const opened = await decrypt({ keys, message })
    return opened.plaintext === plaintext && opened.suite === suite
  } catch (error) {
    console.error(`suite ${suite}: ${describe(error)}`)
    return false
  }
}

let greeting
async function hello() {
  if (!greeting) {
    const suites = []
    for (const suite of SUITES.map(suiteName)) {
      if (await works(suite)) suites.push(suite)
    }
    greeting = { ok: true, name: 'node', version, suites, frame_multiple: 1 }
  }
  return greeting
}

const operations = new Map(Object.entries({ hello, encrypt, decrypt }))

async function answer(line) {
  try {
    const request = JSON.parse(line)
    const operation = operations.get(request.op)
    if (!operation) throw new BadRequest(`op ${JSON.stringify(request.op)}`)
    return await operation(request)
  } catch (error) {
    return { ok: false, error: describe(error) }
  }
}

async function* readLines(input) {
  let parts = []
  for await (let chunk of input) {
    let end
    while ((end = chunk.indexOf(10)) !== -1) {
      parts.push(chunk.subarray(0, end))
      yield Buffer.concat(parts).toString('utf8')
      parts = []
      chunk = chunk.subarray(end + 1)
    }
    if (chunk.length) parts.push(chunk)
  }
  if (parts.length) yield Buffer.concat(parts).toString('utf8')
}

async function main() {
  for await (const line of readLines(process.stdin)) {
    if (!line.trim()) continue
    const text = JSON.stringify(await answer(line)) + '\n'
    await new Promise((resolve) => process.stdout.write(text, resolve))
  }
}

// A stream of the SDK may still fail after its request was answered.
process.on('uncaughtException', (error) => console.error('late failure:', describe(error)))
process.on('unhandledRejection', (error) => console.error('late failure:', describe(error)))

main()
