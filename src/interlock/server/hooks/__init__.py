"""Comments on pull requests that decide requests for approval, as a code host tells of them."""
