"""The reviewer's page: one photo, many photos and the state of the service, by the gateway's client."""
