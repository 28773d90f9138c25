"""What only the containers of docker-compose.yml need: their start, their health, and the door to them."""
