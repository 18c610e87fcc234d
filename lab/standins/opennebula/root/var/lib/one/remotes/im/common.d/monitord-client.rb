# The probe client of a host: runs every probe once and answers on stdout, then goes into the background and sends what the
# probes say for as long as it lives. Arguments: driver, host id, host name; the monitor's configuration (XML) on stdin.
#
# Rehearsal stand-in. Like the real client it needs the Ruby file of the OpenNebula common packages, /var/tmp/one_db and
# /tmp writable, and an SSH session where MONITOR_ADDRESS is "auto". It keeps no metrics database and forecasts nothing.

require 'base64'
require 'fileutils'
require 'openssl'
# Before the load paths: they hide Debian's bundled gems, and the rehearsal's gem directory is empty.
require 'rexml/document'

# Where opennebula-common puts it; Debian's vendor directory is on the path anyway.
$LOAD_PATH.push('/usr/lib/one/ruby', '/usr/lib/one/ruby/opennebula')
require 'load_opennebula_paths'

require_relative '../lib/monitord_client'
require_relative '../lib/probe_runner'

DATABASE_DIRECTORY = '/var/tmp/one_db'.freeze

DEFAULT_PERIODS = {
  'SYSTEM_HOST' => 600, 'MONITOR_HOST' => 120, 'STATE_VM' => 5, 'EXEC_VM' => 5, 'MONITOR_VM' => 30, 'BEACON_HOST' => 30
}.freeze

# message type, directory of its probes, transport, part of the first answer
PROBES = [
  ['SYSTEM_HOST', 'host/system', :udp, true],
  ['MONITOR_HOST', 'host/monitor', :udp, true],
  ['STATE_VM', 'vm/status', :tcp, true],
  ['EXEC_VM', 'vm/execution', :udp, true],
  ['MONITOR_VM', 'vm/monitor', :udp, true],
  ['BEACON_HOST', 'host/beacon', :udp, false]
].freeze

# What the monitor's configuration means for this host.
class Settings
  attr_reader :host_id, :address, :port, :public_key

  def initialize(xml)
    @root = REXML::Document.new(xml).root or raise 'no configuration on stdin'
    @host_id = text('HOST_ID')
    @port = text('NETWORK/PORT')
    @address = text('NETWORK/MONITOR_ADDRESS')
    @address = ssh_client if @address == 'auto'
    @public_key = read_key(text('NETWORK/PUBKEY'))
  end

  def period(name)
    given = text("PROBES_PERIOD/#{name}").strip
    given.empty? ? DEFAULT_PERIODS.fetch(name) : given.to_i
  end

  # The same again in the notation of monitord.conf, for whoever looks on the host.
  def to_conf
    periods = DEFAULT_PERIODS.keys.map { |name| "    #{name} = #{period(name)}" }.join(",\n")
    <<~CONF
      NETWORK = [
          MONITOR_ADDRESS = "#{text('NETWORK/MONITOR_ADDRESS')}",
          PORT            = #{port}
      ]

      PROBES_PERIOD = [
      #{periods}
      ]
    CONF
  end

  private

  def text(path)
    @root.elements[path]&.text.to_s
  end

  def ssh_client
    ENV['SSH_CLIENT'].to_s.split.first or raise 'NETWORK/MONITOR_ADDRESS is "auto", but SSH_CLIENT unknown'
  end

  def read_key(pem)
    return nil if pem.strip.empty?
    raise 'Public key not in PEM format' unless pem.include?('BEGIN RSA PUBLIC KEY')

    OpenSSL::PKey::RSA.new(pem)
  end
end

def into_the_background(pid_files)
  exit!(0) if fork
  Process.setsid
  # The session's pipes must go, or ssh waits for this process.
  [$stdin, $stdout, $stderr].each { |stream| stream.reopen(File::NULL, 'r+') }
  pid_files.each { |path| File.write(path, Process.pid.to_s) }
end

begin
  driver, host_id, = ARGV
  xml = $stdin.read
  FileUtils.mkdir_p("#{DATABASE_DIRECTORY}/etc")
  File.write("#{DATABASE_DIRECTORY}/config", xml)
  settings = Settings.new(xml)
  File.write("#{DATABASE_DIRECTORY}/etc/monitord.conf", settings.to_conf)
  client = MonitordClient.new(settings.address, settings.port, settings.host_id, settings.public_key)
  runners = PROBES.map { |type, directory, *| [type, ProbeRunner.new(driver, directory, ARGV, xml)] }.to_h

  answer = PROBES.select(&:last).map do |type, *|
    "<#{type}>#{Base64.strict_encode64(runners.fetch(type).run)}</#{type}>"
  end
rescue StandardError => e
  warn e.message
  exit(1)
end

puts "<MONITOR_MESSAGES>#{answer.join}<TIMESTAMP>#{Time.now.to_i}</TIMESTAMP></MONITOR_MESSAGES>"
$stdout.flush

into_the_background(["/tmp/one-monitord-#{host_id}.pid", "#{DATABASE_DIRECTORY}/.monitor_client.pid"])

PROBES.map do |type, _directory, transport, _first|
  Thread.new { runners.fetch(type).every(settings.period(type)) { |ok, data| client.push(type, transport, ok, data) } }
end.each(&:join)
