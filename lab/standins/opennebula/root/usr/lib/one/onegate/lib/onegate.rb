# The routes of OneGate and how a virtual machine proves itself.

require 'net/http'
require 'pp'

module Standin

    module OneGate

        CONFIG = "#{ETC_LOCATION}/onegate-server.conf".freeze
        AUTH = "#{VAR_LOCATION}/.one/onegate_auth".freeze
        CIPHER = 'aes-256-cbc'.freeze
        NIC_KEYS = ['IP', 'IP6_LINK', 'IP6_SITE', 'IP6_GLOBAL', 'NETWORK', 'MAC', 'NAME', 'PARENT', 'EXTERNAL',
                    'EXTERNAL_IP'].freeze
        RESTRICTED_ATTRS = ['SCHED_REQUIREMENTS', 'SERVICE_ID', 'ROLE_NAME'].freeze
        RESTRICTED_ACTIONS = ['reboot'].freeze
        # Sinatra's own answer to a missing address: `localhost`, and 4567 for its setting `port`. 6.10 sets both to nothing
        # instead, and then the web server's own port counts.
        NOWHERE_SAID = { :host => 'localhost', :port => { true => 8080, false => 4567 } }.freeze

        LISTEN = if Standin.legacy?
                     { :host => String, :port => Settings::PORT }.freeze
                 else
                     { :server => { :bind => String, :port => Settings::PORT } }.freeze
                 end
        GRAMMAR = {
            :one_xmlrpc => Settings::URL,
            :ssl_server => Settings::URL,
            :log => Settings::LOG,
            :debug_level => Settings::LEVEL,
            :expire_delta => Settings::COUNT,
            :expire_margin => Settings::COUNT,
            :auth => ->(value) { value == 'onegate' },
            :core_auth => ->(value) { ['cipher', 'x509'].include?(value) },
            :oneflow_server => Settings::URL,
            :permissions => {
                :vm => { :show => Settings::BOOLEAN, :show_by_id => Settings::BOOLEAN, :update => Settings::BOOLEAN,
                         :update_by_id => Settings::BOOLEAN, :action_by_id => Settings::BOOLEAN },
                :service => { :show => Settings::BOOLEAN, :change_cardinality => Settings::BOOLEAN },
                :vrouter => { :show => Settings::BOOLEAN },
                :vnet => { :show_by_id => Settings::BOOLEAN }
            },
            :restricted_attrs => Settings::TEXTS,
            :restricted_actions => Settings::TEXTS,
            :vnet_template_attributes => Settings::TEXTS
        }.merge(LISTEN).freeze

        def self.start
            puts Standin.banner('OneGate')
            conf = Settings.load(CONFIG, GRAMMAR, :ignored => Standin.legacy? ? [:server] : [:host, :port])
            pp(conf) # the real one prints its configuration, too
            logger = Journal.open('onegate', conf.dig(:log, :level) || conf[:debug_level] || 2, conf.dig(:log, :system))
            logger.info(Standin.banner('OneGate'))
            begin
                raise 'Auth module not specified' if conf[:auth].nil?

                admin = ServerAdmin.new(AUTH, conf[:one_xmlrpc] || 'http://localhost:2633/RPC2')
            rescue StandardError => e
                logger.error('Error initializing authentication system')
                logger.error(e.message)
                exit(-1)
            end
            Server.new(conf, admin, logger).run
        end

        # @return [Array(String, Integer)] where it listens
        def self.address(conf)
            given = Standin.legacy? ? conf : conf.fetch(:server, {})
            [given[Standin.legacy? ? :host : :bind] || NOWHERE_SAID[:host],
             given[:port] || NOWHERE_SAID[:port][Standin.legacy?]]
        end

        # As the real escape_attr: KEY=value lines become KEY="value".
        def self.quote(text)
            text.gsub('\\n', "\n").split("\n").map do |line|
                line.sub(/\A([^=]+)=(?![\["])(.*)\z/m) { %(#{Regexp.last_match(1)}="#{Regexp.last_match(2)}") }
            end.join("\n")
        end

        class Server

            def initialize(conf, admin, logger)
                @conf = conf
                @admin = admin
                @logger = logger
                @web = Web.new(Standin.banner('OneGate'), logger,
                               :missing => [400, "OneGate server doesn't support this feature"])
                routes
            end

            def run
                @web.run(*OneGate.address(@conf))
            end

            private

            def routes
                @web.route('GET', '/') {|request| overview(request) }
                @web.route('GET', '/vm') {|request| [200, describe(own_vm(request, :vm, :show))] }
                @web.route('PUT', '/vm') {|request| update(request, own_vm(request, :vm, :update)) }
                @web.route('GET', '/vms/:id') {|request| [200, describe(other_vm(request, :show_by_id))] }
                @web.route('PUT', '/vms/:id') {|request| update(request, other_vm(request, :update_by_id)) }
                @web.route('POST', '/vms/:id/action') {|request| act(request, other_vm(request, :action_by_id)) }
                @web.route('GET', '/service') {|request| service(request) }
                @web.route('PUT', '/service/role/:role') {|request| scale(request) }
            end

            def overview(request)
                authenticate(request)
                base = @conf[:ssl_server] || "http://#{request.header('Host')}"
                [200, { 'vm_info' => "#{base}/vm", 'service_info' => "#{base}/service" }]
            end

            # --- who asks -------------------------------------------------------------------------------------------

            # @return [String] the name of the VM's owner
            def authenticate(request)
                owner = begin
                    owner_of(request.header('X-ONEGATE-TOKEN'), request.header('X-ONEGATE-VMID') || request.query['id'])
                rescue StandardError => e
                    @logger.error("Unauthorized login attempt #{e.message}")
                    nil
                end
                @logger.info('Unauthorized login attempt') if owner.nil?
                owner || raise(Halt.new(401, 'Not authorized'))
            end

            def owner_of(token, vmid)
                return refused('X_ONEGATE_TOKEN header not preset') if token.nil?
                return refused('X_ONEGATE_VMID header not preset') if vmid.nil?

                vm = @admin.client.document('vm.info', vmid.to_i, false)
                creator = Values.text(vm, 'TEMPLATE/CREATED_BY')
                return refused("VMID:#{vmid} CREATED_BY not present in the VM TEMPLATE") if creator.nil?

                user = @admin.client.document('user.info', creator.to_i, false)
                password = Values.text(user, 'TEMPLATE/TOKEN_PASSWORD')
                if password.nil?
                    return refused("VMID:#{vmid} TOKEN_PASSWORD not present in the USER:#{creator} TEMPLATE")
                end

                id, start = decrypt(password, token).split(':')
                unless !start.nil? && id == Values.text(vm, 'ID') && start == Values.text(vm, 'STIME')
                    return refused("VMID:#{vmid} token content does not match")
                end

                Values.text(vm, 'UNAME')
            rescue OneError => e
                refused("VMID:#{vmid} info error: #{e.message}")
            rescue OpenSSL::Cipher::CipherError, ArgumentError => e
                refused("VMID:#{vmid} token decrypt error: #{e.message}")
            end

            def refused(text)
                @logger.error(text)
                nil
            end

            # No initialisation vector is set: it is all zeros, on oned's side as well.
            def decrypt(password, token)
                cipher = OpenSSL::Cipher.new(CIPHER).decrypt
                cipher.key = password[0..31]
                cipher.update(Base64.decode64(token)) + cipher.final
            end

            # --- which VM -------------------------------------------------------------------------------------------

            def permit(resource, action)
                return if @conf.dig(:permissions, resource, action)

                fail_with(403, "Action (#{action}) on resource (#{resource}) not supported")
            end

            # @return [Array(Oned, REXML::Element)]
            def own_vm(request, resource, action)
                permit(resource, action)
                client = @admin.client(authenticate(request))
                [client, vm(client, request.header('X-ONEGATE-VMID').to_i)]
            end

            def other_vm(request, action)
                client, source = own_vm(request, :vm, action)
                wanted = request[:id].to_i
                return [client, source] if Values.text(source, 'ID').to_i == wanted

                service_id = Values.text(source, 'USER_TEMPLATE/SERVICE_ID')
                if service_id.nil?
                    fail_with(400, 'This VM does not belong to any Virtual Router or Service, so it cannot retrieve ' \
                                   'information from other VMs')
                end
                service_of(wanted, service_id, client)
                [client, vm(client, wanted)]
            end

            def vm(client, id)
                client.document('vm.info', id, false)
            rescue OneError => e
                fail_with(404, e.message)
            end

            def describe((_client, element))
                vm = Values.hash(element)
                nics = lambda do |name|
                    [vm.dig('TEMPLATE', name)].flatten.compact.map {|nic| nic.slice(*NIC_KEYS) }
                end
                { 'VM' => vm.slice('NAME', 'ID', 'STATE', 'LCM_STATE').merge(
                    'USER_TEMPLATE' => (vm['USER_TEMPLATE'] || {}).except('SCHED_MESSAGE'),
                    'TEMPLATE' => { 'NIC' => nics['NIC'], 'NIC_ALIAS' => nics['NIC_ALIAS'] }
                ) }
            end

            # --- changes --------------------------------------------------------------------------------------------

            def update(request, (client, element))
                removal = request.query.fetch('type', '1').to_i != 1
                text = OneGate.quote(request.query['data'] || request.body)
                restricted(text, removal ? 'cannot be deleted' : 'cannot be modified')
                id = Values.text(element, 'ID').to_i
                if removal
                    remove(client, element, id, text.strip)
                else
                    client.call('vm.update', id, text, 1)
                end
                [200, '']
            rescue OneError => e
                @logger.error("VMID:#{id} vm.update error: #{e.message}")
                raise Halt.new(500, e.message)
            end

            def remove(client, element, id, name)
                raise Halt.new(500, 'attribute not found') if Values.text(element, "USER_TEMPLATE/#{name}").nil?

                kept = Values.hash(element)['USER_TEMPLATE'].except(name)
                client.call('vm.update', id, kept.map {|key, value| %(#{key}="#{value}") }.join("\n"), 0)
            end

            def restricted(text, reason)
                names = @conf[:restricted_attrs] || RESTRICTED_ATTRS
                text.split("\n").each do |line|
                    name = line.split('=').first
                    fail_with(403, "Attribute (#{name}) #{reason}") if name && names.include?(name.upcase)
                end
            end

            def act(request, (client, element))
                action = request.json['action']
                raise Halt.new(400, 'Error parsing JSON: Wrong resource type') unless action.is_a?(Hash)

                name = action['perform'].to_s
                if (@conf[:restricted_actions] || RESTRICTED_ACTIONS).include?(name.downcase)
                    fail_with(403, "Action (#{name}) is not allowed on this resource")
                end
                known = ['hold', 'release', 'resume', 'stop', 'suspend', 'terminate', 'poweroff', 'undeploy', 'reboot']
                raise Halt.new(500, "#{name} action not  available for this resource") unless known.include?(name)

                hard = action['params'] == true || action.dig('params', 'hard') == true
                client.call('vm.action', hard ? "#{name}-hard" : name, Values.text(element, 'ID').to_i)
                [204, '']
            rescue OneError => e
                raise Halt.new(500, e.message)
            end

            # --- services -------------------------------------------------------------------------------------------

            def service(request)
                client, source = own_vm(request, :service, :show)
                [200, service_of(Values.text(source, 'ID').to_i, Values.text(source, 'USER_TEMPLATE/SERVICE_ID'),
                                 client, :extended => request.query['extended'])]
            end

            # What the service of a VM looks like; refused when it does not hold the wanted one.
            def service_of(wanted, service_id, client, extended: nil)
                unless service_id.to_s.match?(/\A\d+\z/)
                    fail_with(400, 'Empty or invalid SERVICE_ID')
                end
                document = JSON.parse(flow(client, 'GET', "/service/#{service_id}", nil, 404,
                                           "Service #{service_id} not found"))['DOCUMENT']
                body = document['TEMPLATE']['BODY']
                fail_with(400, "Service #{service_id} is empty.") if body['roles'].nil?
                roles = body['roles'].map {|role| describe_role(role, client, extended) }
                unless roles.flat_map {|role| role['nodes'].map {|node| node['deploy_id'] } }.include?(wanted)
                    fail_with(400, "Service #{service_id} does not contain VM #{wanted}.")
                end
                { 'SERVICE' => { 'name' => document['NAME'], 'id' => document['ID'], 'state' => body['state'],
                                 'roles' => roles } }
            end

            def describe_role(role, client, extended)
                nodes = (role['nodes'] || []).map do |node|
                    id = node['deploy_id'].to_i
                    info = extended ? { 'VM' => Values.hash(vm(client, id)) } : node['vm_info']
                    { 'deploy_id' => id, 'running' => node['running'], 'vm_info' => info }
                end
                role.slice('name', 'cardinality', 'state').merge('nodes' => nodes)
            end

            def scale(request)
                client, source = own_vm(request, :service, :change_cardinality)
                service_id = Values.text(source, 'USER_TEMPLATE/SERVICE_ID')
                service_of(Values.text(source, 'ID').to_i, service_id, client)
                body = { 'cardinality' => request.json['cardinality'], 'role_name' => request[:role], 'force' => false }
                flow(client, 'POST', "/service/#{service_id}/scale", body, 400,
                     "Error performing action on service #{service_id} role #{request[:role]}")
                [200, '']
            end

            def flow(client, method, path, body, status, text)
                uri = URI.join(@conf[:oneflow_server] || 'http://localhost:2474', path)
                user, password = client.session.split(':', 2)
                request = Net::HTTP.const_get(method.capitalize).new(uri)
                request.basic_auth(user, password)
                request.body = JSON.generate(body) if body
                answer = Net::HTTP.start(uri.host, uri.port, :use_ssl => uri.scheme == 'https') do |http|
                    http.request(request)
                end
                return answer.body.to_s if answer.is_a?(Net::HTTPSuccess)

                @logger.error("OneFlow #{path}: #{answer.code} #{answer.body}")
                fail_with(status, text)
            rescue SystemCallError, SocketError, Timeout::Error => e
                @logger.error("OneFlow #{path}: #{e.message}")
                fail_with(status, text)
            end

            def fail_with(status, text)
                @logger.error(text)
                raise Halt.new(status, text)
            end

        end

    end

end
