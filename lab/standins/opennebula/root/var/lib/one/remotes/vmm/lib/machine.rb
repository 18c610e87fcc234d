# A "machine" of the rehearsal: a process with a machine's name, its context, its way to OneGate and its console, and
# nothing else. Arguments: name, directory of the machine on this host, file for the process id, deployment file.
#
# Like a guest with OpenNebula's context packages it says READY to OneGate when its context asks for that, and tries
# until OneGate takes it. Then it sleeps, or serves the console that its GRAPHICS ask for, as the hypervisor does.

require 'net/http'
require 'socket'
require 'uri'

PAUSE_SECONDS = 2

def context_of(directory)
  path = Dir.glob("#{directory}/disk.*/context.sh").first or return {}
  context = File.read(path).scan(/^([A-Z0-9_]+)='((?:[^']|'\\'')*)'$/m).to_h.transform_values { |v| v.gsub("'\\''", "'") }
  token = File.join(File.dirname(path), 'token.txt')
  context['TOKENTXT'] = File.read(token).strip if File.exist?(token)
  context
end

def ready?(context)
  uri = URI("#{context.fetch('ONEGATE_ENDPOINT').chomp('/')}/vm")
  request = Net::HTTP::Put.new(uri)
  request['X-ONEGATE-TOKEN'] = context.fetch('TOKENTXT')
  request['X-ONEGATE-VMID'] = context.fetch('VMID')
  request.body = 'READY=YES'
  Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == 'https', open_timeout: 5, read_timeout: 20) do |http|
    http.request(request).is_a?(Net::HTTPSuccess)
  end
rescue SystemCallError, SocketError, Timeout::Error, EOFError
  false
end

# The console's socket, and whether it asks for a password: libvirt listens on loopback unless GRAPHICS say otherwise.
def console_of(deployment)
  graphics = File.read(deployment)[%r{<GRAPHICS>(.*?)</GRAPHICS>}m, 1] or return nil
  values = graphics.scan(%r{<([A-Z_]+)>([^<]*)</}).to_h
  return nil unless values['TYPE'].to_s.downcase == 'vnc' && values['PORT'].to_s != ''

  address = values['LISTEN'].to_s.empty? ? '127.0.0.1' : values['LISTEN']
  [TCPServer.new(address, values['PORT'].to_i), values['PASSWD'].to_s.empty? ? 'open' : 'locked']
end

name, directory, pid_file, deployment = ARGV
$PROGRAM_NAME = name
# Before anybody hears that it runs: a port that is taken keeps a machine from starting.
server, lock = console_of(deployment)
File.write("#{pid_file}.new", "#{Process.pid}\n")
File.rename("#{pid_file}.new", pid_file)
context = context_of(directory)
if context['REPORT_READY'].to_s.upcase == 'YES' && context.key?('ONEGATE_ENDPOINT') && context.key?('TOKENTXT')
  sleep(PAUSE_SECONDS) until ready?(context)
end
if server
  exec(['ruby', name], File.join(__dir__, 'console.rb'), name, server.fileno.to_s, lock, server.fileno => server.fileno)
end
exec(['sleep', name], 'infinity')
