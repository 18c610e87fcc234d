# The REST interface of OneFlow.

require_relative 'document'
require_relative 'life_cycle'
require_relative 'schema'

module Standin

    module OneFlow

        CONFIG = "#{ETC_LOCATION}/oneflow-server.conf".freeze
        AUTH = "#{VAR_LOCATION}/.one/oneflow_auth".freeze
        SHUTDOWN = ->(value) { ['terminate', 'terminate-hard'].include?(value) }
        GRAMMAR = {
            :one_xmlrpc => Settings::URL,
            :subscriber_endpoint => Settings::ZEROMQ,
            :autoscaler_interval => Settings::COUNT,
            :host => String,
            :port => Settings::PORT,
            :force_deletion => Settings::BOOLEAN,
            :retries => Settings::COUNT,
            :default_cooldown => Settings::COUNT,
            :wait_timeout => Settings::COUNT,
            :concurrency => Settings::COUNT,
            :shutdown_action => SHUTDOWN,
            :action_number => Settings::COUNT,
            :action_period => Settings::COUNT,
            :vm_name_template => String,
            :vr_name_template => String,
            :vn_name_template => String,
            :page_size => Settings::COUNT,
            :expire_delta => Settings::COUNT,
            :expire_margin => Settings::COUNT,
            :core_auth => ->(value) { ['cipher', 'x509'].include?(value) },
            :debug_level => Settings::LEVEL,
            :log => Settings::LOG
        }.freeze
        DEFAULTS = {
            :one_xmlrpc => 'http://localhost:2633/RPC2',
            :subscriber_endpoint => 'tcp://localhost:2101',
            :host => 'localhost',
            :port => 4567,
            :wait_timeout => 30,
            :shutdown_action => 'terminate',
            :vm_name_template => '$ROLE_NAME_$VM_NUMBER_(service_$SERVICE_ID)'
        }.freeze
        ACTIONS = ['terminate', 'terminate-hard', 'undeploy', 'undeploy-hard', 'hold', 'release', 'stop', 'suspend',
                   'resume', 'reboot', 'reboot-hard', 'poweroff', 'poweroff-hard'].freeze

        def self.start
            puts Standin.banner('OneFlow')
            conf = Settings.load(CONFIG, GRAMMAR, :defaults => DEFAULTS)
            logger = Journal.open('oneflow', conf.dig(:log, :level) || conf[:debug_level] || 2, conf.dig(:log, :system))
            logger.info("[ONEFLOW] #{Standin.banner('OneFlow')}")
            logger.info('[ONEFLOW] Starting server')
            admin = begin
                ServerAdmin.new(AUTH, conf[:one_xmlrpc])
            rescue StandardError => e
                message = "Error initializing authentication system : #{e.message}"
                logger.error("[ONEFLOW] #{message}")
                warn message
                exit(-1)
            end
            life_cycle = LifeCycle.new(conf, admin, logger)
            Thread.new { life_cycle.catch_up }
            Server.new(conf, admin, life_cycle, logger).run
        end

        class Server

            def initialize(conf, admin, life_cycle, logger)
                @conf = conf
                @admin = admin
                @life_cycle = life_cycle
                @logger = logger
                @web = Web.new(Standin.banner('OneFlow'), logger)
                @web.before {|raw| raw.attributes[:user] = authenticate(raw) }
                template_routes
                service_routes
            end

            def run
                @web.run(@conf[:host], @conf[:port])
            end

            private

            # HTTP basic authentication, asked of oned (OpenNebulaCloudAuth.rb). FireEdge gives serveradmin's session in it.
            def authenticate(raw)
                kind, encoded = raw['Authorization'].to_s.split(' ', 2)
                unless kind.to_s.casecmp('basic').zero? && encoded
                    raise Halt.new(401, 'A username and password must be provided')
                end

                user = @admin.foreign(Base64.decode64(encoded)).document('user.info', -1, false)
                Values.text(user, 'NAME')
            rescue OneError => e
                @logger.error("User could not be authenticated: #{e.message}")
                raise Halt.new(401, 'Invalid credentials') unless e.unreachable?

                raise Halt.new(500, { 'message' => 'Internal server error', 'reason' => e.message })
            end

            def on(method, pattern)
                @web.route(method, pattern) do |request|
                    client = @admin.client(request.raw.attributes[:user])
                    begin
                        yield(request, client)
                    rescue OneError => e
                        failed(e.message, status_of(e.code))
                    rescue Invalid => e
                        failed(e.message, 400)
                    end
                end
            end

            # The real one answers these two the wrong way round; so does this one.
            def status_of(code)
                { OneError::AUTHORIZATION => 401, OneError::AUTHENTICATION => 403, OneError::NO_EXISTS => 404 }.fetch(code, 500)
            end

            def failed(text, status)
                @logger.error("[ONEFLOW] Error code #{status}: #{text}")
                [status, text]
            end

            def template_routes
                on('GET', '/service_template') {|_, client| [200, listing(client, TEMPLATE)] }
                on('GET', '/service_template/:id') {|request, client| [200, Document.read(client, TEMPLATE, request[:id]).to_h] }
                on('POST', '/service_template') {|request, client| create(request, client) }
                on('PUT', '/service_template/:id') {|request, client| replace(request, client) }
                on('DELETE', '/service_template/:id') do |request, client|
                    Document.read(client, TEMPLATE, request[:id]).delete
                    [204, '']
                end
                on('POST', '/service_template/:id/action') {|request, client| template_action(request, client) }
            end

            def service_routes
                on('GET', '/service') {|_, client| [200, listing(client, SERVICE)] }
                on('GET', '/service/:id') {|request, client| [200, Service.read(client, SERVICE, request[:id]).to_h] }
                on('DELETE', '/service/:id') do |request, client|
                    own(request, client)
                    @life_cycle.undeploy(request[:id])
                    [204, '']
                end
                on('POST', '/service/:id/action') {|request, client| service_action(request, client) }
                on('POST', '/service/:id/scale') {|request, client| scale(request, client) }
                on('POST', '/service/:id/role/:name/action') do |request, client|
                    own(request, client)
                    @life_cycle.batch(request[:id], request[:name], known_action(request.json['action']))
                    [204, '']
                end
            end

            # Whoever may read a service may drive it: the stand-in's oned knows no finer rights.
            def own(request, client)
                Service.read(client, SERVICE, request[:id])
            end

            def listing(client, kind)
                documents = Document.pool(client, kind).map {|document| document.to_h['DOCUMENT'] }
                { 'DOCUMENT_POOL' => documents.empty? ? {} : { 'DOCUMENT' => documents } }
            end

            def create(request, client)
                body = Schema.validate(request.json)
                body['registration_time'] = Time.now.to_i
                [201, Document.allocate(client, TEMPLATE, body['name'], body).to_h]
            end

            def replace(request, client)
                document = Document.read(client, TEMPLATE, request[:id])
                document.body.replace(Schema.validate(request.json).merge(document.body.slice('registration_time')))
                document.save
                [200, document.to_h]
            end

            def template_action(request, client)
                action = request.json['action']
                document = Document.read(client, TEMPLATE, request[:id])
                unless action.is_a?(Hash) && action['perform'] == 'instantiate'
                    return failed("Action #{action.is_a?(Hash) ? action['perform'] : action} not supported", 500)
                end

                merge = action.dig('params', 'merge_template') || {}
                body = Schema.validate(document.body.merge(merge)).except('registration_time')
                roles = body['roles'].map {|role| role.merge('state' => 0, 'nodes' => [], 'last_vmname' => 0) }
                body = body.merge('state' => 0, 'roles' => roles, 'start_time' => Time.now.to_i)
                service = Service.allocate(client, SERVICE, body['name'], body)
                @life_cycle.deploy(service.id)
                [201, service.to_h]
            end

            def service_action(request, client)
                own(request, client)
                action = request.json['action']
                if action.is_a?(Hash) && action['perform'] == 'recover'
                    @life_cycle.recover(request[:id], :delete => action.dig('params', 'delete') == true)
                else
                    @life_cycle.batch(request[:id], nil, known_action(action))
                end
                [204, '']
            end

            def known_action(action)
                perform = action.is_a?(Hash) ? action['perform'] : nil
                return perform if ACTIONS.include?(perform)

                raise OneError.new("Action #{perform} not supported", 0x0800)
            end

            def scale(request, client)
                own(request, client)
                wanted = request.json
                @life_cycle.scale(request[:id], wanted['role_name'], wanted['cardinality'].to_i)
                [204, '']
            end

        end

    end

end
