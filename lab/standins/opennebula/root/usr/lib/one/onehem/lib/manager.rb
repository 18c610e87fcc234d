# Subscribes to the events of oned's hooks, runs their commands, and replies.

require 'open3'
require 'timeout'

module Standin

    module Hem

        CONFIG = "#{ETC_LOCATION}/onehem-server.conf".freeze
        GRAMMAR = {
            :debug_level => Settings::LEVEL,
            :hook_base_path => String,
            :remote_hook_base_path => String,
            :subscriber_endpoint => Settings::ZEROMQ,
            :replier_endpoint => Settings::ZEROMQ,
            :concurrency => ->(value) { value.is_a?(Integer) && value.positive? }
        }.freeze
        DEFAULTS = {
            :debug_level => 2,
            :hook_base_path => "#{VAR_LOCATION}/remotes/hooks",
            :remote_hook_base_path => '/var/tmp/one/hooks',
            :subscriber_endpoint => 'tcp://localhost:2101',
            :replier_endpoint => 'tcp://localhost:2102',
            :concurrency => 10
        }.freeze
        UPDATES = ['one.hook.update', 'one.hook.allocate', 'one.hook.delete'].freeze
        RETRIES = 300
        RETRY_SECONDS = 0.5
        QUIET_SECONDS = 3600

        def self.start
            puts Standin.banner('HEM')
            $stdout.flush
            conf = Settings.load(CONFIG, GRAMMAR, :defaults => DEFAULTS)
            logger = Journal.open('onehem', conf[:debug_level])
            logger.info(Standin.banner('HEM'))
            ['TERM', 'INT', 'QUIT'].each {|signal| trap(signal) { exit!(0) } }
            Manager.new(conf, client, logger).run
        end

        # A client with oneadmin's own credential, as OpenNebula::Client.new finds it.
        def self.client
            path = ENV.fetch('ONE_AUTH') { "#{Dir.home}/.one/one_auth" }
            abort 'ONE_AUTH file not present' unless File.file?(path)
            endpoint = ENV.fetch('ONE_XMLRPC') do
                file = "#{Dir.home}/.one/one_endpoint"
                File.file?(file) ? File.read(file).strip : 'http://localhost:2633/RPC2'
            end
            Oned.new(endpoint, File.read(path).lines.first.to_s.strip)
        end

        # One hook as oned describes it.
        class Hook

            attr_reader :id

            def initialize(element)
                @id = Values.text(element, 'ID').to_i
                @type = Values.text(element, 'TYPE')
                @template = Values.hash(element.elements['TEMPLATE'])
            end

            def topic
                return "EVENT API #{@template['CALL']}" if @type == 'api'

                "EVENT STATE #{@template.values_at('RESOURCE', 'STATE', 'LCM_STATE').map(&:to_s).join('/')}"
            end

            def remote?
                @template['REMOTE'].to_s.casecmp('YES').zero?
            end

            # ARGUMENTS with $API and $TEMPLATE replaced by the event's part of that name, in base64.
            def arguments(event)
                parts = {
                    '$API' => event.elements['//CALL_INFO'],
                    '$TEMPLATE' => event.elements["//HOOK_MESSAGE/#{event.elements['//HOOK_OBJECT']&.text}"]
                }
                @template['ARGUMENTS'].to_s.split.map do |word|
                    parts.key?(word) ? Base64.strict_encode64(parts[word].to_s) : word
                end.join(' ')
            end

            # @return [Array(String, String, String, Integer)] command, stdout, stderr, code
            def execute(base, arguments, host)
                command = @template['COMMAND'].to_s
                command = "#{base}/#{command}" unless command.start_with?('/')
                input = nil
                if ['yes', 'true'].include?(@template['ARGUMENTS_STDIN'].to_s.downcase)
                    input = arguments
                elsif !arguments.empty?
                    command = "#{command} #{arguments}"
                end
                words = remote? ? ['ssh', '-o', 'BatchMode=yes', host, command] : ['/bin/sh', '-c', command]
                out, err, status = Timeout.timeout(@template['TIMEOUT']&.to_i) { Open3.capture3(*words, :stdin_data => input) }
                [command, out, err, status.exitstatus || 255]
            rescue Timeout::Error
                [command, '', 'Timeout executing the command', 255]
            end

        end

        class Manager

            def initialize(conf, client, logger)
                @conf = conf
                @client = client
                @logger = logger
                @hooks = {}
                @reply = Mutex.new
                @work = SizedQueue.new(conf[:concurrency] * 100)
            end

            def run
                @conf[:concurrency].times { Thread.new { loop { work(*@work.pop) } } }
                load_hooks
                topics = UPDATES.map {|call| "EVENT API #{call} 1" } + @hooks.values.map(&:topic) + ['RETRY']
                @subscriber = Zmtp::Subscriber.new(@conf[:subscriber_endpoint], topics, @logger)
                loop do
                    key, content = @subscriber.receive(QUIET_SECONDS)
                    handle(key, content) if content
                end
            end

            private

            def load_hooks
                @logger.info('Loading Hooks...')
                pool = nil
                RETRIES.times do
                    pool = @client.document('hookpool.info', -1, -1, -1)
                    break
                rescue OneError => e
                    @logger.debug(e.message)
                    @problem = e.message
                    break unless e.unreachable?

                    sleep(RETRY_SECONDS)
                end
                return @logger.error("Cannot get hook information: #{@problem}") if pool.nil?

                pool.each_element('HOOK') {|element| add(Hook.new(element)) }
                @logger.info('Hooks successfully loaded')
            end

            def add(hook)
                @hooks[hook.id] = hook
                @subscriber&.subscribe(hook.topic)
            end

            def handle(key, content)
                @logger.debug("New event receive key: #{key}")
                if key == 'RETRY'
                    event = REXML::Document.new(Base64.decode64(content.split.first.to_s))
                    hook = @hooks[event.elements['//HOOK_ID']&.text.to_i]
                    @work << [hook, event, true] if hook
                    return
                end
                event = REXML::Document.new(Base64.decode64(content))
                @hooks.each_value {|hook| @work << [hook, event, false] if "#{key} ".start_with?(hook.topic) }
                call = key.split[2]
                reload(call, event) if UPDATES.include?(call)
            rescue StandardError => e
                @logger.error("event #{key}: #{e.message}")
            end

            def reload(call, event)
                kind = call == 'one.hook.allocate' ? 'OUT' : 'IN'
                found = event.elements["//PARAMETER[TYPE='#{kind}' and POSITION='2']/VALUE"]
                id = found&.text.to_i
                @hooks.delete(id)
                return if call == 'one.hook.delete'

                add(Hook.new(@client.document('hook.info', id, false)))
                @logger.info("Hook (#{id}) successfully reloaded")
            rescue OneError => e
                @logger.error("Error getting hook #{id}. #{e.message}")
            end

            def work(hook, event, again)
                arguments = again ? Base64.decode64(event.elements['//ARGUMENTS']&.text.to_s) : hook.arguments(event)
                host = event.elements['//REMOTE_HOST']&.text.to_s
                return @logger.error('No remote host specified for a remote hook.') if hook.remote? && host.empty?

                @logger.info("Executing hook #{hook.id} for #{hook.topic}")
                base = @conf[hook.remote? ? :remote_hook_base_path : :hook_base_path]
                command, out, err, code = hook.execute(base, arguments, host)
                if code.zero?
                    @logger.info("Hook #{hook.id} successfully executed for #{hook.topic}")
                else
                    @logger.error("Failure executing hook #{hook.id} for #{hook.topic}")
                end
                body = "<ARGUMENTS>#{arguments}</ARGUMENTS><EXECUTION_RESULT><COMMAND>#{command.encode(:xml => :text)}</COMMAND>" \
                       "<STDOUT>#{Base64.strict_encode64(out)}</STDOUT><STDERR>#{Base64.strict_encode64(err)}</STDERR>" \
                       "<CODE>#{code}</CODE></EXECUTION_RESULT>" \
                       "#{"<REMOTE_HOST>#{host}</REMOTE_HOST>" if hook.remote?}#{'<RETRY>yes</RETRY>' if again}"
                answer = @reply.synchronize do
                    Zmtp.request(@conf[:replier_endpoint], "#{code} #{hook.id} #{Base64.strict_encode64(body)}")
                end
                @logger.error("Wrong ACK message: #{answer}.") if answer != 'ACK'
            rescue StandardError => e
                @logger.error("hook #{hook&.id}: #{e.message}")
            end

        end

    end

end
