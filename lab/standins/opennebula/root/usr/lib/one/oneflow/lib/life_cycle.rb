# Deploys and ends services, role by role, and waits for their virtual machines (LifeCycleManager.rb, EventManager.rb).
#
# A wait is a thread that looks at its virtual machines at each event of theirs, and at least each `wait_timeout` seconds.
# A service is changed under its own lock and stored in oned after each change, so a restart goes on from there.

require_relative 'document'

module Standin

    module OneFlow

        class LifeCycle

            IDLE = ['STOPPED', 'SUSPENDED', 'POWEROFF', 'UNDEPLOYED'].freeze
            RETRY_SECONDS = 5

            def initialize(conf, admin, logger)
                @conf = conf
                @admin = admin
                @logger = logger
                @locks = Hash.new {|locks, id| locks[id] = Mutex.new }
                @guard = Mutex.new
            end

            # Services that were on their way when the daemon ended: their waits begin again.
            def catch_up
                @logger.error('[LCM] Catching up...') # at this level in the real one, too
                services = begin
                    Document.pool(@admin.client, SERVICE)
                rescue OneError => e
                    @logger.error("[LCM] #{e.message}")
                    sleep(RETRY_SECONDS)
                    retry
                end
                services.each {|document| recover(document.id) if TRANSIENT.include?(SERVICE_STATES[document.body['state'].to_i]) }
            end

            def deploy(id)
                change(id) do |service|
                    roles = service.deployable
                    if roles.empty?
                        service.state = 'RUNNING' if service.all_roles?('RUNNING')
                    else
                        service.state = 'DEPLOYING'
                        start(service, roles)
                    end
                end
            end

            # @raise [OneError] in a state that cannot be left
            def undeploy(id, force: false)
                change(id) do |service|
                    stuck = service.state == 'DONE' || service.state.start_with?('FAILED_')
                    if !force && (stuck || (TRANSIENT - ['UNDEPLOYING']).include?(service.state))
                        raise OneError.new("Service cannot be undeployed in state: #{service.state}", 0x0800)
                    end

                    if service.all_roles?('DONE') || service.roles.empty?
                        service.delete
                        next :gone
                    end
                    service.state = 'UNDEPLOYING'
                    finish(service, service.removable)
                end
            end

            # @raise [OneError]
            def recover(id, delete: false)
                return undeploy(id, :force => true) if delete

                change(id) do |service|
                    case service.state
                    when 'FAILED_DEPLOYING', 'DEPLOYING', 'PENDING', 'DEPLOYING_NETS'
                        service.state = 'DEPLOYING'
                        again(service)
                    when 'FAILED_UNDEPLOYING', 'UNDEPLOYING', 'UNDEPLOYING_NETS'
                        service.state = 'UNDEPLOYING'
                        service.roles.each do |role|
                            service.set_role(role, 'RUNNING') if service.role_state(role).end_with?('UNDEPLOYING')
                        end
                        finish(service, service.removable)
                    else
                        raise OneError.new("Service cannot be recovered in state: #{service.state}", 0x0800)
                    end
                end
            end

            # @raise [OneError]
            def scale(id, name, cardinality)
                change(id) do |service|
                    unless ['RUNNING', 'WARNING'].include?(service.state)
                        raise OneError.new("Service cannot be scaled in state: #{service.state}", 0x0800)
                    end
                    role = service.role(name) || raise(OneError.new("Role #{name} not found", OneError::NO_EXISTS))
                    limits(role, cardinality)
                    more = cardinality - role['nodes'].size
                    role['cardinality'] = cardinality
                    service.state = 'SCALING'
                    if more.positive?
                        deploy_role(service, role, 'SCALING')
                    else
                        ids = role['nodes'].last(-more).map {|node| node['deploy_id'] }
                        terminate(service, role, ids)
                        service.set_role(role, 'SCALING')
                        await_end(service.id, name, ids, :scaled_down)
                    end
                end
            end

            # An action on all virtual machines of one role (or of all), as the real one schedules it for now.
            def batch(id, name, action)
                change(id) do |service|
                    roles = name ? [service.role(name)].compact : service.roles
                    raise OneError.new("Role #{name} not found", OneError::NO_EXISTS) if roles.empty?

                    client = @admin.client(service.owner)
                    roles.flat_map {|role| role['nodes'] || [] }.each do |node|
                        client.call('vm.action', action, node['deploy_id'])
                    end
                end
            end

            private

            # Runs the block with the service as oned has it now, under its lock, and stores it afterwards.
            def change(id)
                @guard.synchronize { @locks[id.to_i] }.synchronize do
                    service = Service.read(@admin.client, SERVICE, id)
                    begin
                        service.save unless yield(service) == :gone
                    rescue OneError => e
                        @logger.error("[LCM] [#{id}] #{e.message}")
                        raise
                    end
                    service
                end
            end

            # --- start ----------------------------------------------------------------------------------------------

            def start(service, roles)
                roles.each {|role| deploy_role(service, role, 'DEPLOYING') || break }
            end

            def deploy_role(service, role, state)
                client = @admin.client(service.owner)
                role['nodes'] ||= []
                role['last_vmname'] ||= 0
                fresh = (role['cardinality'].to_i - role['nodes'].size).times.map { instantiate(client, service, role) }
                service.set_role(role, state)
                await_start(service.id, role['name'], fresh, service.report_ready?, state == 'SCALING' ? :scaled_up : :deployed)
                true
            rescue OneError => e
                @logger.error("[ROL] [#{service.id}] Role #{role['name']} : Instantiate failed for template " \
                              "#{role['template_id']}; #{e.message}")
                service.set_role(role, "FAILED_#{state}")
                service.state = "FAILED_#{state}"
                false
            end

            def instantiate(client, service, role)
                name = @conf[:vm_name_template].gsub('$SERVICE_ID', service.id.to_s)
                                               .gsub('$SERVICE_NAME', service.hash['NAME'].to_s)
                                               .gsub('$ROLE_NAME', role['name'])
                                               .gsub('$VM_NUMBER', role['last_vmname'].to_s)
                role['last_vmname'] += 1
                extra = (role['template_contents'] || {}).merge('SERVICE_ID' => service.id, 'ROLE_NAME' => role['name'])
                id = client.call('template.instantiate', role['template_id'], name, false, LifeCycle.raw(extra), false)
                @logger.debug("[ROL] [#{service.id}] Role #{role['name']} : Instantiate success, VM ID #{id}")
                info = Values.hash(client.document('vm.info', id, false))
                role['nodes'] << { 'deploy_id' => id,
                                   'vm_info' => { 'VM' => info.slice('ID', 'UID', 'GID', 'UNAME', 'GNAME', 'NAME') } }
                id
            end

            # OpenNebula's template syntax: KEY="text" lines, and vectors one level deep.
            def self.raw(values)
                quoted = ->(value) { %("#{value.to_s.gsub('"', '\\"')}") }
                values.flat_map do |key, value|
                    [value].flatten.map do |item|
                        next "#{key}=#{quoted[item]}" unless item.is_a?(Hash)

                        "#{key}=[#{item.map {|name, text| "#{name}=#{quoted[text]}" }.join(', ')}]"
                    end
                end.join("\n")
            end

            def again(service)
                service.roles.each do |role|
                    case service.role_state(role)
                    when 'FAILED_DEPLOYING'
                        service.set_role(role, 'PENDING')
                        retry_nodes(service, role)
                    when 'DEPLOYING'
                        ids = (role['nodes'] || []).map {|node| node['deploy_id'] }
                        await_start(service.id, role['name'], ids, service.report_ready?, :deployed)
                    end
                end
                start(service, service.deployable)
            end

            # Nodes that failed are recovered by oned (2 = retry); what the role still lacks is made by its deployment.
            def retry_nodes(service, role)
                client = @admin.client(service.owner)
                failed = (role['nodes'] || []).map {|node| node['deploy_id'] }.select {|id| look(id) == :failure }
                failed.each {|id| client.call('vm.recover', id, 2) }
            end

            # --- end ------------------------------------------------------------------------------------------------

            def finish(service, roles)
                roles.each do |role|
                    ids = (role['nodes'] || []).map {|node| node['deploy_id'] }
                    terminate(service, role, ids)
                    service.set_role(role, 'UNDEPLOYING')
                    await_end(service.id, role['name'], ids, :undeployed)
                end
            end

            def terminate(service, role, ids)
                action = role['shutdown_action'] || service.body['shutdown_action'] || @conf[:shutdown_action]
                action = action.sub('shutdown', 'terminate')
                client = @admin.client(service.owner)
                ids.each do |id|
                    next if look(id) == :done

                    begin
                        client.call('vm.action', action, id)
                    rescue OneError => e
                        @logger.error("[ROL] [#{service.id}] Role #{role['name']} : Terminate failed for VM #{id}, will " \
                                      "perform a Delete; #{e.message}")
                        client.call('vm.recover', id, 3)
                    end
                end
            end

            def limits(role, cardinality)
                low = role['min_vms'].to_i
                high = role['max_vms']
                raise OneError.new("Minimum cardinality is #{low}", 0x0800) if cardinality < low
                raise OneError.new("Maximum cardinality is #{high}", 0x0800) if high && cardinality > high
                return if cardinality != role['nodes'].size

                raise OneError.new("Cardinality of #{role['name']} is already at #{cardinality}", 0x0800)
            end

            # --- waits ----------------------------------------------------------------------------------------------

            def await_start(id, name, nodes, report, event)
                what = report ? 'report ready' : 'be (ACTIVE, RUNNING)'
                topics = nodes.map {|node| "EVENT VM #{node}/" }
                topics << 'EVENT API one.vm.update 1' if report
                wait(id, name, nodes, what, topics, event) {|node| look(node, :report => report) }
            end

            def await_end(id, name, nodes, event)
                topics = nodes.map {|node| "EVENT VM #{node}/" }
                wait(id, name, nodes, 'be (DONE, LCM_INIT)', topics, event) do |node|
                    look(node) == :done ? :done : :waiting
                end
            end

            def wait(id, name, nodes, what, topics, event)
                Thread.new do
                    @logger.info("[EM] Waiting #{nodes} to #{what}")
                    subscriber = Zmtp::Subscriber.new(@conf[:subscriber_endpoint], topics, @logger)
                    subscriber.open # before the first look, so that no change falls between the two
                    left = nodes.dup
                    outcome = nil
                    until outcome
                        results = left.to_h {|node| [node, yield(node)] }
                        left.reject! {|node| [:ready, :idle, :done].include?(results[node]) }
                        outcome = :failed if results.value?(:failure)
                        outcome ||= :passed if left.empty?
                        next if outcome

                        key, = subscriber.receive(@conf[:wait_timeout])
                        @logger.info(key ? "[EM] #{key}" : "[EM] Timeout reached for VM #{left} to #{what}")
                    end
                    subscriber.close
                    settle(id, name, outcome, event)
                rescue StandardError => e
                    @logger.error("[EM] [#{id}] role #{name}: #{e.message}\n#{e.backtrace.first(3).join("\n")}")
                end
            end

            # :ready, :idle (stopped by somebody), :done, :failure or :waiting
            def look(id, report: false)
                vm = @admin.client.document('vm.info', id, false)
                state = VM_STATES[Values.text(vm, 'STATE').to_i]
                lcm = Values.text(vm, 'LCM_STATE').to_i
                return :done if state == 'DONE'
                return :idle if IDLE.include?(state)
                return :failure if state == 'ACTIVE' && LCM_FAILURES.include?(lcm)

                ready = if report
                            Values.text(vm, 'USER_TEMPLATE/READY').to_s.strip == 'YES'
                        else
                            state == 'ACTIVE' && lcm == LCM_RUNNING
                        end
                ready ? :ready : :waiting
            rescue OneError => e
                @logger.error("[EM] VM #{id}: #{e.message}")
                e.code == OneError::NO_EXISTS ? :done : :waiting
            end

            def settle(id, name, outcome, event)
                follow = nil
                change(id) do |service|
                    role = service.role(name)
                    if outcome == :failed
                        failed = event == :scaled_up ? 'FAILED_SCALING' : 'FAILED_DEPLOYING'
                        service.set_role(role, failed)
                        service.state = failed
                        next
                    end
                    if event == :undeployed
                        service.set_role(role, 'DONE')
                        role['nodes'] = []
                        follow = :undeploy
                    else
                        role['nodes'] = role['nodes'].first(role['cardinality'].to_i)
                        service.set_role(role, 'RUNNING')
                        service.state = 'RUNNING' if service.all_roles?('RUNNING')
                        follow = :deploy if event == :deployed && service.straight? && service.state != 'RUNNING'
                    end
                end
                return if follow.nil?
                return deploy(id) if follow == :deploy

                undeploy(id)
            end

        end

    end

end
