# The S3 Encryption Clients of the Ruby SDK, versions 1 and 2, for the interoperability tests. Debian
# has them in the package ruby-aws-sdk-s3.
#
# Reads one JSON object per line from stdin, until stdin ends, and puts an object for each:
#
#   {"endpoint":..,"client":"v1"|"v2","key":{"aes":BASE64}|{"rsa":PEM}|{"kms":ARN},
#    "location":"metadata"|"instruction_file","bucket":..,"name":..,"body":BASE64,"context":{..}}
#       -> {"ok":true} or {"ok":false,"error":"ClassName: text"}
require 'aws-sdk-s3'
require 'aws-sdk-kms'
require 'base64'
require 'json'

def options(request)
  access = {
    endpoint: request['endpoint'], region: 'us-east-1',
    credentials: Aws::Credentials.new('AKIDPEER', 'peer'), retry_limit: 0
  }
  key = request['key']
  kind = key.keys.first
  made = { client: Aws::S3::Client.new(force_path_style: true, **access), envelope_location: request['location'].to_sym }
  made[:encryption_key] = Base64.strict_decode64(key['aes']) if kind == 'aes'
  made[:encryption_key] = OpenSSL::PKey::RSA.new(key['rsa']) if kind == 'rsa'
  made.update(kms_key_id: key['kms'], kms_client: Aws::KMS::Client.new(**access)) if kind == 'kms'
  return made if request['client'] == 'v1'
  schemas = { 'aes' => :aes_gcm, 'rsa' => :rsa_oaep_sha1, 'kms' => :kms_context }
  made.update(key_wrap_schema: schemas[kind], content_encryption_schema: :aes_gcm_no_padding, security_profile: :v2)
end

def put(request)
  kind = request['client'] == 'v1' ? Aws::S3::Encryption::Client : Aws::S3::EncryptionV2::Client
  put = { bucket: request['bucket'], key: request['name'], body: Base64.strict_decode64(request['body']) }
  put[:kms_encryption_context] = request['context'] if request['context']
  kind.new(options(request)).put_object(put)
  { ok: true }
rescue StandardError => error
  { ok: false, error: "#{error.class}: #{error.message}" }
end

STDIN.each_line do |line|
  puts JSON.generate(put(JSON.parse(line)))
  STDOUT.flush
end
