"""The reviewer's page: shows one photo to the gateway and its answer to the reviewer."""
