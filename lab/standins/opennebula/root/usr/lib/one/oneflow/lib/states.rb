# States of services and roles, by the numbers that the real ones store (src/flow/lib/models).

module Standin

    module OneFlow

        SERVICE_STATES = ['PENDING', 'DEPLOYING', 'RUNNING', 'UNDEPLOYING', 'WARNING', 'DONE', 'FAILED_UNDEPLOYING',
                          'FAILED_DEPLOYING', 'SCALING', 'FAILED_SCALING', 'COOLDOWN', 'DEPLOYING_NETS',
                          'UNDEPLOYING_NETS', 'FAILED_DEPLOYING_NETS', 'FAILED_UNDEPLOYING_NETS', 'HOLD'].freeze
        ROLE_STATES = ['PENDING', 'DEPLOYING', 'RUNNING', 'UNDEPLOYING', 'WARNING', 'DONE', 'FAILED_UNDEPLOYING',
                       'FAILED_DEPLOYING', 'SCALING', 'FAILED_SCALING', 'COOLDOWN', 'HOLD'].freeze
        TRANSIENT = ['DEPLOYING', 'UNDEPLOYING', 'SCALING', 'COOLDOWN', 'DEPLOYING_NETS', 'UNDEPLOYING_NETS'].freeze

    end

end
